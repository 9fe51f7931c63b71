/*
 * title: what ps shows of a process. Linux shows the memory in which argv and the environment were handed
 * over; the title is written there, so both are moved away first.
 */
#ifndef CLAVIGER_BASE_TITLE_H
#define CLAVIGER_BASE_TITLE_H

/*
 * Called once, first thing in main(): copies argv and the environment to the heap, points `environ` at the
 * copy and clears the memory where the environment was (keys in it no longer show in /proc/PID/environ).
 * Returns the copied argv, to be used from here on; NULL when out of memory (nothing has changed then).
 */
char **title_init(int argc, char **argv);

/* Writes the title, cut where the area ends, and names the thread by its first 15 bytes (PR_SET_NAME, what
 * `ps -e` and top show). Without title_init() only the latter. */
void title_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Releases the copies: for tests. `environ` is empty afterwards. */
void title_fini(void);

#endif
