/*
 * admin_page: writes the status page. Called by admin for each GET /; reads only. Whatever others have
 * written (hints, reasons) is escaped.
 */
#include "worker/admin_page.h"

#include "base/clock.h"
#include "worker/admin_page_parts.inc"

#include <inttypes.h>
#include <string.h>

#define BAR_WIDTH   4
#define BAR_HEIGHT  32
#define CHART_WIDTH (HISTORY_MINUTES * BAR_WIDTH)

static void put_text(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        default:
            buf_putc(out, *text);
        }
    }
}

/* "3 d 4 h", "12 min 5 s": the two largest parts. */
static void put_duration(struct buf *out, int64_t seconds)
{
    if (seconds >= 86400)
        buf_printf(out, "%" PRId64 " d %" PRId64 " h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        buf_printf(out, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds % 3600 / 60);
    else if (seconds >= 60)
        buf_printf(out, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
    else
        buf_printf(out, "%" PRId64 " s", seconds);
}

/* ---- pictures */

/* A bar a minute. What it shows is said in words too. */
static void put_bars(struct buf *out, const uint64_t values[HISTORY_MINUTES], const char *class,
                     const char *what)
{
    uint64_t most = 0;
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        most = values[i] > most ? values[i] : most;
    buf_printf(out,
               "<svg class=\"%s\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" "
               "aria-label=\"%s, each minute of the last hour; at most %" PRIu64 "\">"
               "<line class=\"base\" x1=\"0\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>",
               class, CHART_WIDTH, BAR_HEIGHT, what, most, CHART_WIDTH, BAR_HEIGHT, BAR_HEIGHT);
    for (unsigned i = 0; i < HISTORY_MINUTES; i++) {
        if (values[i] == 0)
            continue;
        unsigned height = (unsigned)(1 + (double)values[i] / (double)most * (BAR_HEIGHT - 1));
        buf_printf(out, "<rect x=\"%u\" y=\"%u\" width=\"%d\" height=\"%u\"/>", i * BAR_WIDTH,
                   BAR_HEIGHT - height, BAR_WIDTH - 1, height);
    }
    buf_puts(out, "</svg>");
}

static void put_tile(struct buf *out, const uint64_t values[HISTORY_MINUTES], const char *class,
                     const char *name, const char *unit, uint64_t shown)
{
    buf_printf(out, "<div class=\"card\"><div class=\"dim\">%s</div><div class=\"big\">%" PRIu64 "%s</div>",
               name, shown, unit);
    put_bars(out, values, class, name);
    buf_puts(out, "</div>");
}

static void put_tiles(const struct admin_page *page, struct buf *out)
{
    uint64_t series[4][HISTORY_MINUTES];
    uint64_t totals[4] = {0};
    uint64_t duration_ms = 0;
    for (size_t i = 0; i < HISTORY_MINUTES; i++) {
        const struct history_minute *minute = &page->minutes[i];
        series[0][i] = minute->requests;
        series[1][i] = minute->failovers;
        series[2][i] = minute->errors;
        series[3][i] = minute->requests > 0 ? minute->duration_ms / minute->requests : 0;
        for (size_t k = 0; k < 3; k++)
            totals[k] += series[k][i];
        duration_ms += minute->duration_ms;
    }
    totals[3] = totals[0] > 0 ? duration_ms / totals[0] : 0;
    buf_puts(out, "<div class=\"tiles\">");
    put_tile(out, series[0], "", "Requests, last hour", "", totals[0]);
    put_tile(out, series[1], "wait", "Failovers, last hour", "", totals[1]);
    put_tile(out, series[2], "bad", "Errors (429, 5xx), last hour", "", totals[2]);
    put_tile(out, series[3], "", "Mean duration, last hour", " ms", totals[3]);
    buf_puts(out, "</div>");
}

/* ---- pools */

static void put_button(struct buf *out, const char *action, const struct store_row *row)
{
    buf_printf(out, " <button name=\"do\" value=\"%s ", action);
    put_text(out, row->provider);
    buf_putc(out, ' ');
    put_text(out, row->key_id);
    buf_printf(out, "\">%s</button>", action);
}

static void put_key(const struct admin_page *page, struct buf *out, const struct store_row *row)
{
    buf_printf(out, "<tr><td>%" PRId64 "</td><td><code>", row->position);
    put_text(out, row->hint);
    buf_puts(out, "</code></td><td class=\"state ");
    put_text(out, row->state);
    buf_puts(out, "\">");
    put_text(out, row->state);
    buf_puts(out, "</td><td data-unit=\"left\">");
    if (row->seconds_left > 0)
        put_duration(out, row->seconds_left);
    buf_puts(out, "</td><td class=\"mark\">");
    put_text(out, row->reason);
    if (row->status > 0)
        buf_printf(out, " <span class=\"dim\">%" PRId64 "</span>", row->status);
    buf_printf(out, "</td><td class=\"wide\">%" PRId64 "</td><td class=\"wide dim\">", row->failures);
    put_text(out, row->updated);
    buf_puts(out, "</td>");
    if (page->actions) {
        buf_puts(out, "<td class=\"act\">");
        if (strcmp(row->state, "valid") != 0)
            put_button(out, "reset", row);
        put_button(out, strcmp(row->state, "permanent") == 0 ? "enable" : "disable", row);
        buf_puts(out, "</td>");
    }
    buf_puts(out, "</tr>");
}

static void put_marks(const struct admin_page *page, struct buf *out, const char *provider)
{
    uint64_t values[HISTORY_MINUTES];
    unsigned number = metrics_provider(&page->shared->metrics, provider);
    if (number < 1 || number > HISTORY_PROVIDERS)
        return;
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        values[i] = page->minutes[i].marks[number - 1];
    put_bars(out, values, "wait", "Marks");
}

static size_t count_state(const struct store_rows *rows, const char *provider, const char *state)
{
    size_t count = 0;
    for (size_t i = 0; i < rows->count; i++)
        count += strcmp(rows->items[i].provider, provider) == 0 && strcmp(rows->items[i].state, state) == 0;
    return count;
}

static void put_pool(const struct admin_page *page, struct buf *out, const struct provider *provider)
{
    const struct store_rows *rows = page->rows;
    buf_printf(out, "<section class=\"card\"><div class=\"head\"><h2>%s</h2>", provider->name);
    if (provider->key_count == 0) {
        buf_puts(out, "<span class=\"dim\">no keys: clients bring their own</span></div></section>");
        return;
    }
    if (rows != NULL)
        buf_printf(
            out,
            "<span><span class=\"valid\">%zu valid</span>, <span class=\"temporary\">%zu temporary</span>, "
            "<span class=\"permanent\">%zu permanent</span></span>",
            count_state(rows, provider->name, "valid"), count_state(rows, provider->name, "temporary"),
            count_state(rows, provider->name, "permanent"));
    put_marks(page, out, provider->name);
    buf_puts(out,
             "</div><div class=\"scroll\"><table class=\"flow keys\"><thead><tr><th>#</th><th>Key</th>"
             "<th>State</th><th>Left</th><th class=\"mark\">Last mark</th><th class=\"wide count\">Marks</th>"
             "<th class=\"wide time\">Changed</th>");
    buf_puts(out, page->actions ? "<th></th></tr></thead><tbody>" : "</tr></thead><tbody>");
    for (size_t i = 0; rows != NULL && i < rows->count; i++)
        if (strcmp(rows->items[i].provider, provider->name) == 0)
            put_key(page, out, &rows->items[i]);
    buf_puts(out, "</tbody></table></div></section>");
}

/* ---- workers */

static void put_worker(const struct admin_page *page, struct buf *out, struct shared_worker *slot)
{
    int32_t phase = atomic_load(&slot->phase);
    if (phase <= WORKER_FREE || phase > WORKER_DRAINING)
        return;
    buf_printf(out, "<tr><td>%d</td><td>%d</td><td class=\"state %s\">%s</td><td data-unit=\"up\">",
               (int)atomic_load(&slot->number), (int)atomic_load(&slot->pid), shared_phase_name(phase),
               shared_phase_name(phase));
    put_duration(out, (page->now_mono_ms - atomic_load(&slot->started_ms)) / 1000);
    buf_printf(out,
               "</td><td data-unit=\"connections\">%" PRIu64 "</td><td data-unit=\"in flight\">%" PRIu64
               "</td><td data-unit=\"requests\">%" PRIu64 "</td><td data-unit=\"lag\">%" PRId64
               " ms</td></tr>",
               (uint64_t)atomic_load(&slot->connections), (uint64_t)atomic_load(&slot->in_flight),
               (uint64_t)atomic_load(&slot->requests), (int64_t)atomic_load(&slot->lag_ms));
}

static void put_workers(const struct admin_page *page, struct buf *out)
{
    buf_puts(out,
             "<section class=\"card\"><h2>Workers</h2><div class=\"scroll\"><table class=\"flow\"><thead>"
             "<tr><th>#</th><th>Pid</th><th>Phase</th><th>Up</th><th>Connections</th><th>In flight</th>"
             "<th>Requests</th><th>Lag</th></tr></thead><tbody>");
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++)
        put_worker(page, out, &page->shared->workers[i]);
    buf_puts(out, "</tbody></table></div></section>");
}

/* ---- the page */

static void put_live(const struct admin_page *page, struct buf *out)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(page->now_real_ms, now);
    buf_printf(out,
               "<div id=\"live\"><p class=\"dim\">%.19sZ, configuration %u, database "
               "<span class=\"%s\">%s</span></p>",
               now, (unsigned)atomic_load(&page->shared->serving_generation), page->database, page->database);
    put_tiles(page, out);
    if (page->rows == NULL)
        buf_puts(out, "<p class=\"note\">The state database cannot be read now.</p>");
    for (size_t i = 0; i < page->conf->providers.count; i++)
        put_pool(page, out, &page->conf->providers.items[i]);
    put_workers(page, out);
    buf_puts(out, "</div>");
}

void admin_page_write(const struct admin_page *page, struct buf *out)
{
    buf_printf(out,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>claviger</title>"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
               "<style nonce=\"%s\">\n%s</style></head><body><div class=\"wrap\">"
               "<header><h1>claviger</h1><span class=\"dim\">%s</span>"
               "<span id=\"lost\" class=\"permanent\" hidden>the daemon does not answer</span></header>\n",
               page->nonce, admin_page_css, page->version);
    if (page->actions)
        buf_puts(out, "<form method=\"post\" action=\"/keys\" autocomplete=\"off\"><p><label "
                      "class=\"dim\">Admin token, to "
                      "change keys: <input type=\"password\" name=\"token\" required></label></p>");
    put_live(page, out);
    buf_puts(out, page->actions ? "</form>" : "");
    buf_printf(out, "</div><script nonce=\"%s\">\n%s</script></body></html>\n", page->nonce, admin_page_js);
}
