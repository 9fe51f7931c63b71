/*
 * clavigerctl_top: what the files of `clavigerctl top` share: the master's answer, what comes of two of them,
 * and the text that is made of it. All but the command itself is pure.
 */
#ifndef CLAVIGER_CLAVIGERCTL_TOP_H
#define CLAVIGER_CLAVIGERCTL_TOP_H

#include "clavigerctl.h"
#include "io/history.h"

/* Totals since the daemon's start. */
struct top_totals {
    uint64_t requests;
    uint64_t failovers;
    uint64_t errors;
    uint64_t tokens_in;
    uint64_t tokens_out;
    size_t bound_count;                      /* of the durations' buckets */
    uint64_t bounds_ms[METRICS_BUCKETS_MAX]; /* bound_count of them */
    uint64_t durations[METRICS_BUCKETS_MAX]; /* bound_count + 1 of them */
};

struct top_worker {
    int64_t number;
    int64_t pid; /* 0 = it waits to be started */
    char phase[16];
    int64_t uptime_s;
    uint64_t connections;
    uint64_t in_flight;
    uint64_t requests;
    int64_t lag_ms;
};

struct top_marks {
    char provider[METRICS_PROVIDER_SIZE];
    uint64_t minutes[HISTORY_MINUTES];
};

/* The last hour, a number a minute, oldest first. */
struct top_hour {
    uint64_t requests[HISTORY_MINUTES];
    uint64_t failovers[HISTORY_MINUTES];
    uint64_t errors[HISTORY_MINUTES];
    uint64_t duration_ms[HISTORY_MINUTES];
    struct top_marks *marks; /* owned */
    size_t marks_count;
};

/* The master's answer. */
struct top_answer {
    char version[32];
    char phase[16];
    int64_t pid;
    int64_t uptime_s;
    int64_t generation;
    char database[16]; /* "ok", "busy", "failing" */
    char database_since[32];
    uint64_t in_flight;
    uint64_t streams;
    struct top_totals totals;
    struct top_hour hour;
    struct top_worker *workers; /* owned */
    size_t worker_count;
};

/* clavigerctl_top_read.c */

/* 0; -1 when the text is no answer of a master (which names its version) or memory is short. What else a
 * master of another version does not tell is 0 or "". */
int top_read(const char *json, struct top_answer *answer);
void top_answer_fini(struct top_answer *answer);

/* clavigerctl_top_rates.c */

#define TOP_SAMPLES 64

/* What was seen lately; zeroed at the begin. */
struct top_samples {
    struct {
        int64_t mono_ms;
        struct top_totals totals;
    } items[TOP_SAMPLES]; /* a ring */
    size_t count;
    size_t newest;
};

struct top_rates {
    bool known;       /* there is something to compare with */
    double requests;  /* a second */
    double failovers; /* a second */
    double errors;    /* a second */
    double tokens_in; /* a minute */
    double tokens_out;
    bool timed; /* requests have ended: the next two are known */
    double p50_ms;
    double p95_ms;
};

/* The rates of the last seconds (tokens and durations: of the last minute) until the totals of now, which are
 * remembered. Totals that have shrunk are those of another daemon: nothing before them counts. */
struct top_rates top_rates(struct top_samples *samples, const struct top_totals *totals, int64_t now_mono_ms);

/* clavigerctl_top_picture.c */

#define TOP_PICTURE_LEAST 6

/* How wide a picture of an hour is in so much room: a part of 60; 0 = there is no room for one. */
unsigned top_picture_width(size_t room);

/* One character for each of `width` parts of the hour: their sums, or their sums divided by those of `by`
 * (NULL = are not). */
void top_picture(struct buf *out, const uint64_t values[HISTORY_MINUTES], const uint64_t *by, unsigned width,
                 bool unicode);

/* clavigerctl_top_layout.c */

enum top_section { TOP_DAEMON, TOP_TRAFFIC, TOP_POOLS, TOP_WORKERS, TOP_KEYS, TOP_SECTIONS };

/* Gives each section as many of the rows as it wants, when there are enough; else what is most needed comes
 * first. A section that gets nothing is left out. */
void top_share(const size_t wanted[TOP_SECTIONS], size_t rows, size_t given[TOP_SECTIONS]);

/* clavigerctl_top_view.c */

struct top_view {
    const struct provider_list *providers;
    const struct top_answer *answer; /* NULL: there is none, for the reason in daemon_error */
    const char *daemon_error;
    const struct store_rows *rows; /* NULL: the database cannot be read, for the reason in database_error */
    const char *database_error;
    struct top_rates rates;
    bool unicode;
    bool colours;
};

/* Appends the text: no line wider than size.columns, no more than size.rows of them (0 = no limit). */
void top_compose(const struct top_view *view, struct terminal_size size, struct buf *out);

#endif
