/*
 * fake_main: the fake provider as a program, for the demonstration and for tests in other languages.
 *
 *     fakeprovider [--script FILE] [--port-file FILE] [--log FILE]
 *
 * Without a script every request gets what the real API would say. The port-file appears, whole, once the
 * port accepts connections. It ends with SIGTERM or SIGINT, or when the process that started it ends.
 */
#include "e2e/fake.h"
#include "e2e/util.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int announce(const struct fake *fake, const char *path)
{
    char text[16];
    char *temporary;
    int len = snprintf(text, sizeof(text), "%u\n", fake_port(fake));
    int rc = -1;

    if (path == NULL)
        return printf("%s\n", fake_url(fake)) < 0 || fflush(stdout) != 0 ? -1 : 0;
    if (asprintf(&temporary, "%s.new", path) < 0)
        return -1;
    if (util_write_file(temporary, text, (size_t)len, 0600) == 0 && rename(temporary, path) == 0)
        rc = 0;
    else
        perror(path);
    free(temporary);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"script", required_argument, NULL, 's'},
                                          {"port-file", required_argument, NULL, 'p'},
                                          {"log", required_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    static const struct fake_answer api = {.action = FAKE_API};
    struct fake_options options = {0};
    const char *script = NULL;
    const char *port_file = NULL;
    struct fake *fake;
    sigset_t set;
    int sig;
    int rc = 1;
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 's')
            script = optarg;
        else if (c == 'p')
            port_file = optarg;
        else if (c == 'l')
            options.log_path = optarg;
        else
            return 2;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    fake = fake_start(&options);
    if (fake == NULL) {
        perror("fakeprovider: listen");
        return 1;
    }
    if (script == NULL || fake_script(fake, script) == 0) {
        fake_on_any(fake, &api);
        if (announce(fake, port_file) == 0) {
            sigwait(&set, &sig);
            rc = 0;
        }
    }
    fake_stop(&fake);
    return rc;
}
