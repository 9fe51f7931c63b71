/*
 * clavigerctl_top: owns the command `top`: asks the master and the database at each look, and remembers what
 * was seen. Reads only.
 */
#include "clavigerctl_top.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* A master that hangs must not make the view hang for long. */
#define ASK_TIMEOUT_S 2

struct top {
    bool unicode;
    bool first;
    struct top_samples samples;
};

/* What was found out at one look. */
struct look {
    enum ask_result asked;
    struct buf answer; /* the master's JSON, or why there is none */
    struct store_rows rows;
    bool listed;
    struct buf database_error;
};

static const char *text_of(const struct buf *text)
{
    return text->data && !text->failed ? text->data : "out of memory";
}

static void look_around(const struct call *call, struct look *look)
{
    memset(look, 0, sizeof(*look));
    look->asked = clavigerctl_ask(call->conf->control, "top", ASK_TIMEOUT_S, &look->answer);
    if (look->asked == ASK_REFUSED) {
        buf_clear(&look->answer);
        buf_puts(&look->answer,
                 "clavigerd is of another version and has no answer for top; restart or upgrade it");
    }
    look->listed = store_edit_list(call->conf->state_db, NULL, &look->rows, &look->database_error) == 0;
}

static void look_fini(struct look *look)
{
    buf_fini(&look->answer);
    buf_fini(&look->database_error);
    store_rows_fini(&look->rows);
}

static void put_json_text(struct buf *out, const char *text)
{
    if (text)
        buf_json(out, text, strlen(text));
    else
        buf_puts(out, "null");
}

/* One line, in the words of `status`. */
static void put_json(const struct look *look, const char *daemon_error, struct buf *out)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);
    buf_printf(out, "{\"time\":\"%s\",\"running\":", now);
    if (look->asked == ASK_OK)
        buf_puts(out, "true");
    else
        buf_puts(out, look->asked == ASK_NOT_RUNNING ? "false" : "null");
    buf_printf(out, ",\"daemon\":%s,\"daemon_error\":", daemon_error ? "null" : text_of(&look->answer));
    put_json_text(out, look->asked == ASK_NOT_RUNNING ? NULL : daemon_error);
    buf_puts(out, ",\"keys\":");
    if (look->listed)
        store_rows_json(&look->rows, out);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"database_error\":");
    put_json_text(out, look->listed ? NULL : text_of(&look->database_error));
    buf_puts(out, "}\n");
}

static int compose(const struct call *call, struct terminal_size size, void *arg, struct buf *out)
{
    struct top *top = arg;
    struct look look;
    struct top_answer answer = {0};
    look_around(call, &look);
    bool understood = look.asked == ASK_OK && top_read(text_of(&look.answer), &answer) == 0;
    struct top_view view = {
        .providers = &call->conf->providers,
        .answer = understood ? &answer : NULL,
        .rows = look.listed ? &look.rows : NULL,
        .database_error = text_of(&look.database_error),
        .unicode = top->unicode,
        .colours = terminal_has_colours(),
    };
    int status = look.asked == ASK_NOT_RUNNING ? CTL_NOT_RUNNING : CTL_FAILED;
    if (understood) {
        view.rates = top_rates(&top->samples, &answer.totals, clock_mono_ms());
        status = CTL_DONE;
    } else if (look.asked == ASK_OK) {
        view.daemon_error = "clavigerd's answer cannot be understood; is it of another version?";
    } else {
        view.daemon_error = text_of(&look.answer);
    }
    if (top->first && status != CTL_DONE) {
        buf_puts(out, view.daemon_error);
    } else if (call->json) {
        put_json(&look, view.daemon_error, out);
    } else {
        top_compose(&view, size, out);
    }
    top->first = false;
    top_answer_fini(&answer);
    look_fini(&look);
    return status;
}

int clavigerctl_top(const struct call *call)
{
    struct top top = {.unicode = terminal_has_unicode(), .first = true};
    const struct watched watched = {.compose = compose, .arg = &top};
    return clavigerctl_watch(call, &watched);
}
