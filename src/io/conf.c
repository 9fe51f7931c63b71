/*
 * conf: loads a configuration and checks it as a whole. Called by the programs at start and by the master at
 * a reload. It changes nothing in the system: sockets, database and files are made by others.
 */
#include "io/conf.h"

#include "base/digest.h"
#include "base/fd.h"
#include "base/secret.h"
#include "core/ascii.h"
#include "io/clients.h"
#include "io/conf_listen.h"
#include "io/conf_provider.h"
#include "io/conf_tables.h"
#include "io/conf_text.h"
#include "io/conf_tls.h"
#include "io/conf_tree.h"
#include "io/sandbox.h"
#include "io/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1024 * 1024)
#define WORKERS_MAX   128

/* The file, between reading and the finished struct conf. */
struct job {
    struct conf_load load;
    struct cfg_t *tree; /* NULL = built-in defaults */
    struct conf *conf;
};

static unsigned line_of(const struct job *job, const char *name)
{
    return conf_option_line(&job->load, job->tree, name);
}

/* Fills load->text. False after an error that leaves nothing to look at; *read says whether the file could be
 * read. */
static bool read_file(const char *file, struct conf_load *load, bool *read)
{
    size_t len;
    char *data = NULL;
    bool good;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0)
        data = fd_read_file(fd, FILE_SIZE_MAX, &len);
    if (data == NULL) {
        conf_error(&load->errors, 0, "cannot be read (%s): name a readable text file of at most 1 MiB",
                   errno == EINVAL ? "not a regular file" : strerror(errno));
        fd_close(&fd);
        return false;
    }
    fd_close(&fd);
    *read = true;
    good = conf_text_scan(&load->text, data, len, &load->errors);
    secret_wipe(data, len);
    free(data);
    return good;
}

static void load_options(struct job *job)
{
    conf_option_defaults(&job->load, conf_main_options, job->conf);
    conf_option_apply(&job->load, job->tree, conf_main_options, job->conf);
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        conf_option_defaults(&job->load, s->options, job->conf);
        conf_option_apply(&job->load, conf_tree_section(job->tree, s->name), s->options, job->conf);
    }
}

static void load_providers(struct job *job)
{
    struct conf *conf = job->conf;
    struct cfg_t *section;
    const char *name;
    size_t keys = 0;

    for (size_t i = 0; (section = conf_tree_provider(job->tree, i, &name)) != NULL; i++)
        conf_provider_load(&job->load, section, name,
                           conf_text_section_line(&job->load.text, "provider", name), &conf->providers);
    if (conf_tree_provider(job->tree, 0, &name) == NULL)
        conf_provider_load_builtin(&job->load, &conf->providers);
    for (size_t i = 0; i < conf->providers.count; i++) {
        const struct provider *p = &conf->providers.items[i];

        keys += p->key_count;
        if (keys <= SHARED_KEYS_MAX)
            continue;
        conf_error(&job->load.errors, conf_text_section_line(&job->load.text, "provider", p->name),
                   "with provider %s there are over %d keys: remove some", p->name, SHARED_KEYS_MAX);
        break;
    }
}

/* Where item i of a list of listening addresses stands in the file. */
static unsigned listen_line(const struct job *job, const char *option, size_t i)
{
    const struct conf_value *value = conf_option_value(&job->load, job->tree, option, i);

    return value == NULL ? 0 : value->line;
}

static void check_repeated(struct job *job, const char *option, const struct conf_listens *list, size_t i,
                           const char *other_option, const struct conf_listens *other, size_t other_count)
{
    for (size_t j = 0; j < other_count; j++) {
        unsigned line = listen_line(job, option, i);

        if (!conf_listen_equal(&list->items[i], &other->items[j]))
            continue;
        conf_error(&job->load.errors, line > 0 ? line : listen_line(job, other_option, j),
                   "%s: \"%s\" is an address of %s already: change one of the two", option,
                   list->items[i].text, other_option);
        return;
    }
}

/* Whether each address of the list could be read, so that items and the file's values go together. */
static bool is_complete(const struct job *job, const char *option, const struct conf_listens *list)
{
    bool given = line_of(job, option) > 0;

    return !given || conf_option_value(&job->load, job->tree, option, list->count) == NULL;
}

/* Whether only clients with a certificate of ours are served there. */
static bool needs_certificate(const struct job *job, const struct conf_listen *listen)
{
    return listen->tls && job->conf->tls.client_auth == CONF_CLIENT_AUTH_REQUIRED;
}

static void check_listens(struct job *job)
{
    const struct conf_listens *l = &job->conf->listens;
    const struct conf_listens *a = &job->conf->admin_listens;

    if (!is_complete(job, "listen", l) || !is_complete(job, "admin_listen", a))
        return;
    if (l->count == 0)
        conf_error(
            &job->load.errors, line_of(job, "listen"),
            "listen is empty, so that no client could connect: add an address, as in {\"127.0.0.1:8080\"}");
    for (size_t i = 0; i < l->count; i++) {
        check_repeated(job, "listen", l, i, "listen", l, i);
        if (job->conf->clients_file[0] == '\0' && !job->conf->allow_anonymous &&
            !conf_listen_is_local(&l->items[i]) && !needs_certificate(job, &l->items[i]))
            conf_error(
                &job->load.errors, listen_line(job, "listen", i),
                "listen: \"%s\" can be reached from other hosts, and whoever connects uses the keys: listen "
                "on 127.0.0.1 or a unix socket, name a file of clients, ask clients for certificates, or add "
                "allow_anonymous = true",
                l->items[i].text);
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].plain)
            conf_error(&job->load.errors, listen_line(job, "admin_listen", i),
                       "admin_listen: \"%s\": these addresses never speak TLS: remove \"plain:\"",
                       a->items[i].text);
        check_repeated(job, "admin_listen", a, i, "admin_listen", a, i);
        check_repeated(job, "admin_listen", a, i, "listen", l, l->count);
    }
}

static void check_state_db(struct job *job)
{
    const char *path = job->conf->state_db;
    unsigned line = line_of(job, "state_db");
    const struct conf_value *given = conf_option_value(&job->load, job->tree, "state_db", 0);
    struct stat st;
    char *dir;

    job->conf->state_db_line = given != NULL ? line : 0;
    if (given != NULL && strcmp(given->text, path) != 0)
        return; /* it was no path, and said so */
    dir = strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
    if (dir == NULL)
        conf_error_memory(&job->load.errors);
    else if (stat(dir, &st) < 0)
        conf_error(&job->load.errors, line,
                   "state_db %s: its directory cannot be used (%s): make it, or name another", path,
                   strerror(errno));
    else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        conf_error(&job->load.errors, line, "state_db %s is no regular file: name another", path);
    free(dir);
}

static void check_user_agent(struct job *job)
{
    const char *p = job->conf->user_agent;

    while (*p >= 0x20 && *p < 0x7f)
        p++;
    if (*p != '\0' || p == job->conf->user_agent)
        conf_error(&job->load.errors, line_of(job, "user_agent"),
                   "user_agent is empty or not printable ASCII: write a name, as in \"aibridge\"");
}

static void check_rest(struct job *job)
{
    const struct conf *conf = job->conf;
    const char *target = conf->log.target;

    if (conf->user[0] != '\0' && getpwnam(conf->user) == NULL)
        conf_error(&job->load.errors, line_of(job, "user"),
                   "user \"%s\" is not known: add it or name another", conf->user);
    if (strlen(conf->control) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        conf_error(&job->load.errors, line_of(job, "control"),
                   "control has a path over %zu bytes, which no socket can have: choose a shorter one",
                   sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    if (strcmp(target, "stderr") != 0 && strcmp(target, "syslog") != 0 && target[0] != '/')
        conf_error(&job->load.errors,
                   conf_option_line(&job->load, conf_tree_section(job->tree, "log"), "target"),
                   "target is unknown: write stderr, syslog or an absolute path");
}

static void check_sandbox(struct job *job)
{
    if (job->conf->sandbox && !sandbox_is_built_in())
        conf_error(
            &job->load.errors, line_of(job, "sandbox"),
            "sandbox: this clavigerd is built without libseccomp: write sandbox = false, or build it with");
}

static unsigned trace_line(const struct job *job, const char *name)
{
    return conf_option_line(&job->load, conf_tree_section(job->tree, "trace"), name);
}

static void check_trace(struct job *job)
{
    const char *endpoint = job->conf->trace.endpoint;
    const char *share = job->conf->trace.share_text;
    struct base_url url;
    char *end;

    if (endpoint[0] != '\0') {
        if (base_url_parse(endpoint, &url) < 0)
            conf_error_memory(&job->load.errors);
        else if (!url.valid)
            conf_error(&job->load.errors, trace_line(job, "endpoint"),
                       "endpoint %s: write an http or https URL, as in \"http://127.0.0.1:4318/v1/traces\"",
                       url.reason);
        base_url_fini(&url);
    }
    job->conf->trace.share = strtod(share, &end);
    if (!ascii_is_digit(share[0]) || strspn(share, "0123456789.") != strlen(share) || *end != '\0' ||
        job->conf->trace.share > 1)
        conf_error(
            &job->load.errors, trace_line(job, "share"),
            "share is no number from 0 to 1: write the part of all requests that is traced, as in 0.1");
}

static void check_admin_token(struct job *job)
{
    char *hash = job->conf->admin_token;
    size_t len = 0;

    for (; ascii_hex_value(hash[len]) >= 0; len++)
        if (hash[len] >= 'A' && hash[len] <= 'F')
            hash[len] = (char)(hash[len] + ('a' - 'A'));
    if (hash[0] != '\0' && (len != DIGEST_HEX_SIZE - 1 || hash[len] != '\0'))
        conf_error(&job->load.errors, line_of(job, "admin_token"),
                   "admin_token is no SHA-256 in hexadecimal: write the 64 digits that clavigerctl token "
                   "prints, not the "
                   "token itself");
}

/* Whether workers can write there is seen when they do: they may be another user. */
static void check_dump(struct job *job)
{
    const char *dir = job->conf->dump.dir;
    unsigned line = conf_option_line(&job->load, conf_tree_section(job->tree, "dump"), "dir");
    struct stat st;

    if (dir[0] == '\0')
        return;
    if (dir[0] != '/')
        conf_error(&job->load.errors, line, "dir is no absolute path: begin it with /");
    else if (stat(dir, &st) < 0)
        conf_error(&job->load.errors, line, "dir %s cannot be used (%s): make it, or name another", dir,
                   strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        conf_error(&job->load.errors, line, "dir %s is no directory: name another", dir);
}

/* Behind the providers, which it names. */
static void load_clients(struct job *job)
{
    struct conf *conf = job->conf;

    if (conf->clients_file[0] == '\0' || job->load.keyless)
        return;
    conf->clients = calloc(1, sizeof(*conf->clients));
    if (conf->clients == NULL)
        conf_error_memory(&job->load.errors);
    else
        clients_load(conf->clients_file, &conf->providers, &job->load.errors, line_of(job, "clients"),
                     conf->clients);
}

static void load_all(struct job *job)
{
    load_options(job);
    if (job->conf->control == NULL || job->conf->state_db == NULL || job->conf->user_agent == NULL ||
        job->conf->user == NULL || job->conf->admin_token == NULL || job->conf->log.target == NULL ||
        job->conf->dump.dir == NULL || job->conf->trace.endpoint == NULL ||
        job->conf->trace.share_text == NULL || job->conf->clients_file == NULL)
        return; /* out of memory, and said so */
    conf_tls_load(&job->load, conf_tree_section(job->tree, "tls"), job->conf);
    check_listens(job);
    check_state_db(job);
    check_user_agent(job);
    check_rest(job);
    check_sandbox(job);
    check_dump(job);
    check_admin_token(job);
    check_trace(job);
    load_providers(job);
    load_clients(job);
}

/* What clavigerctl needs from a file that has errors. */
static void load_paths_only(struct job *job)
{
    const char *state_db = conf_text_top_value(&job->load.text, "state_db");
    const char *control = conf_text_top_value(&job->load.text, "control");

    conf_option_defaults(&job->load, conf_main_options, job->conf);
    if (state_db != NULL && state_db[0] == '/')
        conf_option_set_text(&job->load, &job->conf->state_db, state_db);
    if (control != NULL && control[0] == '/')
        conf_option_set_text(&job->load, &job->conf->control, control);
}

static struct conf *load(const char *file, bool keyless, struct buf *errors)
{
    struct job job = {.load = {.errors = {.file = file, .out = errors}, .keyless = keyless}};
    bool read = file == NULL;

    job.conf = calloc(1, sizeof(*job.conf));
    if (job.conf == NULL) {
        conf_error_memory(&job.load.errors);
        return NULL;
    }
    if (file == NULL) {
        load_all(&job);
    } else {
        conf_option_set_text(&job.load, &job.conf->file, file);
        if (read_file(file, &job.load, &read))
            job.tree = conf_tree_new(&job.load);
        if (job.tree != NULL)
            load_all(&job);
        else if (keyless && read)
            load_paths_only(&job);
    }
    conf_tree_free(&job.tree);
    conf_text_fini(&job.load.text);
    if (job.load.errors.count > 0 &&
        (!keyless || !read || job.conf->state_db == NULL || job.conf->control == NULL))
        conf_free(&job.conf);
    return job.conf;
}

struct conf *conf_load(const char *file, struct buf *errors)
{
    return load(file, false, errors);
}

struct conf *conf_load_paths(const char *file, struct buf *errors)
{
    return load(file, true, errors);
}

const char *conf_default_file(void)
{
    static const char path[] = SYSCONFDIR "/claviger/claviger.conf";

    /* Only what is not there is passed over: one that cannot be read is conf_load()'s to complain of. */
    return access(path, F_OK) < 0 && errno == ENOENT ? NULL : path;
}

void conf_free(struct conf **conf)
{
    struct conf *c = *conf;

    if (c == NULL)
        return;
    conf_listens_fini(&c->listens);
    conf_listens_fini(&c->admin_listens);
    if (c->clients != NULL)
        client_list_fini(c->clients);
    free(c->clients);
    conf_providers_fini(&c->providers);
    conf_tls_fini(&c->tls);
    free(c->file);
    free(c->admin_token);
    free(c->clients_file);
    free(c->user);
    free(c->state_db);
    free(c->pid_file);
    free(c->control);
    free(c->user_agent);
    free(c->log.target);
    free(c->dump.dir);
    free(c->trace.endpoint);
    free(c->trace.share_text);
    free(c);
    *conf = NULL;
}

unsigned conf_worker_count(const struct conf *conf)
{
    unsigned count = conf->workers;
    size_t cpus = 1024;
    cpu_set_t *set;

    /* The kernel refuses a set that is smaller than its own. */
    for (; count == 0 && cpus <= 65536; cpus *= 2) {
        size_t size = CPU_ALLOC_SIZE(cpus);

        set = CPU_ALLOC(cpus);
        if (set == NULL)
            break;
        if (sched_getaffinity(0, size, set) == 0)
            count = (unsigned)CPU_COUNT_S(size, set);
        CPU_FREE(set);
    }
    if (count == 0)
        count = 1;
    return count > WORKERS_MAX ? WORKERS_MAX : count;
}

void conf_put_state_db_place(const struct conf *conf, struct buf *out)
{
    if (conf->file != NULL && conf->state_db_line > 0)
        buf_printf(out, "%s:%u: ", conf->file, conf->state_db_line);
}
