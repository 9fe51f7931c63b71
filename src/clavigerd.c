/*
 * clavigerd: the daemon's command line. It reads the configuration and hands over to the master, to which it
 * gives the workers' and the admin process's functions.
 */
#include "base/buf.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/title.h"
#include "io/conf.h"
#include "io/keyfile_env.h"
#include "io/sandbox.h"
#include "io/store_schema.h"
#include "master/child.h"
#include "master/daemon.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/upgrade.h"
#include "master/upgrade_heir.h"
#include "worker/admin.h"
#include "worker/listener.h"
#include "worker/upstream.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char USAGE[] = "usage: clavigerd [-c FILE] [-d] [-t] [-T] [-V] [-h]\n";

static const char HELP[] = "  -c, --config FILE  read FILE instead of " SYSCONFDIR "/claviger/claviger.conf\n"
                           "  -d, --daemon       go into the background once everything serves\n"
                           "  -t, --test         check the configuration and exit\n"
                           "  -T, --dump-config  also print it with every default, keys masked\n"
                           "  -V, --version      print the versions of clavigerd and its libraries\n"
                           "  -h, --help         print this\n"
                           "See clavigerd(8) and claviger.conf(5).\n";

struct arguments {
    const char *file;
    bool daemon;
    bool test;
    bool dump;
};

static void print_version(void)
{
    printf("clavigerd/%s\n", PACKAGE_VERSION);
    printf("%s\n%s\n", listener_library_version(), listener_tls_library_version());
    printf("%s\n", upstream_library_version());
    printf("%s\n%s\n", store_schema_library_version(), conf_library_version());
    if (sandbox_is_built_in())
        printf("%s\n", sandbox_library_version());
}

/* -1 = go on, otherwise the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *args)
{
    static const struct option OPTIONS[] = {
        {"config", required_argument, NULL, 'c'},
        {"daemon", no_argument, NULL, 'd'},
        {"test", no_argument, NULL, 't'},
        {"dump-config", no_argument, NULL, 'T'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:dtTVh", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'c':
            args->file = optarg;
            break;
        case 'd':
            args->daemon = true;
            break;
        case 't':
            args->test = true;
            break;
        case 'T':
            args->dump = true;
            break;
        case 'V':
            print_version();
            return EXIT_SUCCESS;
        case 'h':
            printf("%s%s", USAGE, HELP);
            return EXIT_SUCCESS;
        default:
            fputs(USAGE, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "clavigerd: unexpected argument: %s\n%s", argv[optind], USAGE);
        return EXIT_USAGE;
    }
    return -1;
}

/* Whether the database can be used, by the user too whom the workers will have. 0, or -1 and *reason. */
static int check_store(const struct conf *conf, struct buf *reason)
{
    struct buf place = {0};
    struct child_user user = {.set = false};
    /* Only root changes to another user. */
    int rc = geteuid() == 0 ? child_user_find(&user, conf->user, reason) : 0;
    if (rc == 0)
        rc = reload_check_store_user(conf, &user, reason);
    if (rc == 0) {
        conf_put_state_db_place(conf, &place);
        rc = store_schema_check(conf->state_db, &place);
        if (rc < 0)
            buf_append(reason, place.data, place.len);
    }
    buf_fini(&place);
    child_user_fini(&user);
    return rc;
}

/* -t and -T. */
static int show(const struct conf *conf, bool dump)
{
    struct buf text = {0};
    struct buf reason = {0};
    int status = EXIT_SUCCESS;
    if (check_store(conf, &reason) < 0) {
        fprintf(stderr, "%s\n", reason.failed || !reason.data ? "clavigerd: out of memory" : reason.data);
        buf_fini(&reason);
        return EXIT_FAILURE;
    }
    buf_fini(&reason);
    if (dump)
        conf_print(conf, &text);
    else
        buf_printf(&text, "%s: the configuration is valid\n", conf->file ? conf->file : "built-in defaults");
    if (text.failed || fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0) {
        fprintf(stderr, "clavigerd: cannot write: %s\n", strerror(errno));
        status = EXIT_FAILURE;
    }
    buf_fini(&text);
    return status;
}

/* What an upgrade needs to know of how we were started. */
struct origin {
    char *binary;              /* owned */
    char **argv;               /* borrowed */
    struct upgrade_heir *heir; /* owned; NULL = this is no upgrade */
};

static int serve(const char *file, bool daemon, const struct origin *origin, struct conf **conf)
{
    struct buf reason = {0};
    struct master_options options = {
        .programs = {.worker = worker_main, .admin = admin_main},
        .version = PACKAGE_VERSION,
        .conf_file = file,
        .binary = origin->binary,
        .argv = origin->argv,
        .heir = origin->heir,
        .parent = {.detached = false, .ready_fd = -1, .stderr_fd = -1},
    };
    int status = EXIT_FAILURE;
    if (origin->heir) {
        options.binary = upgrade_heir_binary(origin->heir);
        options.parent.detached = upgrade_heir_detached(origin->heir);
    }
    if (daemon && !origin->heir && daemon_detach(&options.parent, &reason) < 0)
        fprintf(stderr, "clavigerd: %s\n", reason.data ? reason.data : "out of memory");
    else
        status = -1;
    buf_fini(&reason);
    if (status >= 0)
        return status;
    if (!daemon && strcmp((*conf)->log.target, "stderr") != 0)
        options.parent.stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
    return master_run(&options, conf);
}

/* The file to read: -d changes the directory, so it must not be relative then; after an upgrade it may have
 * been changed already. NULL as *file = built-in defaults; the result is the caller's. 0, or -1 with errno.
 */
static int find_file(const struct arguments *args, const struct upgrade_heir *heir, char **file)
{
    const char *inherited = heir ? upgrade_heir_conf_file(heir) : NULL;
    const char *name = args->file ? args->file : conf_default_file();
    *file = NULL;
    if (inherited)
        name = inherited;
    if (!name)
        return 0;
    *file = args->daemon ? realpath(name, NULL) : NULL;
    /* What does not exist is conf's to complain of. */
    if (!*file)
        *file = strdup(name);
    return *file ? 0 : -1;
}

/* Reads the configuration and does what was asked for. */
static int run(const struct arguments *args, const struct origin *origin)
{
    struct buf errors = {0};
    char *file = NULL;
    struct conf *conf = NULL;
    int status = EXIT_FAILURE;
    if (find_file(args, origin->heir, &file) < 0)
        buf_printf(&errors, "clavigerd: %s\n", strerror(errno));
    else
        conf = conf_load(file, &errors);
    if (!conf) {
        const char *why = errors.data ? errors.data : "clavigerd: out of memory\n";
        fputs(why, stderr);
        upgrade_heir_refuse(origin->heir, why);
    } else if (args->test || args->dump) {
        status = show(conf, args->dump);
    } else {
        status = serve(file, args->daemon, origin, &conf);
    }
    conf_free(&conf);
    buf_fini(&errors);
    free(file);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments args = {0};
    struct origin origin = {0};
    struct buf reason = {0};
    int status = EXIT_FAILURE;

    if (daemon_open_standard() < 0)
        return EXIT_FAILURE;
    digest_begin();
    origin.binary = upgrade_own_path();
    origin.argv = title_init(argc, argv);
    if (!origin.argv) {
        fputs("clavigerd: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    status = parse_arguments(argc, origin.argv, &args);
    if (status >= 0)
        goto out;
    status = EXIT_FAILURE;
    daemon_clean_environment();
    daemon_set_limits();
    if (upgrade_heir_new(&origin.heir, &reason) < 0)
        fprintf(stderr, "clavigerd: %s\n", reason.data ? reason.data : "out of memory");
    else
        status = run(&args, &origin);

out:
    upgrade_heir_free(&origin.heir);
    buf_fini(&reason);
    free(origin.binary);
    keyfile_env_fini();
    title_fini();
    return status;
}
