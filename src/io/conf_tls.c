/*
 * conf_tls: owns the reading of certificates and of their key. Called by conf. What it keeps is written anew
 * from what was understood: no text of the files that is none of the two, no second copy of the key. No
 * message holds anything of a key but the name of its file.
 */
#include "io/conf_tls.h"

#include "base/fd.h"
#include "base/secret.h"
#include "io/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1024 * 1024)

struct job {
    struct conf_load *load;
    struct cfg_t *section;
    struct conf_tls *tls;
};

static unsigned line_of(const struct job *job, const char *option)
{
    return conf_option_line(job->load, job->section, option);
}

static bool is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

/* Whether an option that names a file, if it does, does so in a way that means the same everywhere. */
static bool check_path(struct job *job, const char *option, const char *path)
{
    if (!is_given(path) || path[0] == '/')
        return true;
    conf_error(&job->load->errors, line_of(job, option), "%s is no absolute path: begin it with \"/\"",
               option);
    return false;
}

/* The file's content, or NULL after an error. */
static char *read_file(struct job *job, const char *option, const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *data = fd < 0 ? NULL : fd_read_file(fd, FILE_SIZE_MAX, len);

    if (data == NULL)
        conf_error(&job->load->errors, line_of(job, option),
                   "%s %s cannot be read (%s): name a readable PEM file of at most 1 MiB", option, path,
                   errno == EINVAL ? "not a regular file" : strerror(errno));
    fd_close(&fd);
    return data;
}

/* Asked only when something is encrypted: *arg remembers it. */
static int refuse_password(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)arg = true;
    return -1;
}

/* ---- certificates */

static void put_date(struct buf *out, const ASN1_TIME *time)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) == 1)
        buf_printf(out, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    else
        buf_puts(out, "an unreadable date");
}

/* Whether a certificate that we show to clients is valid now. */
static bool is_current(struct job *job, const char *path, size_t number, X509 *certificate)
{
    bool expired = X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
    bool early = X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0;
    struct buf date = {0};

    if (!expired && !early)
        return true;
    put_date(&date, expired ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate));
    conf_error(&job->load->errors, line_of(job, "certificate"), "certificate %s: number %zu in it %s %s: %s",
               path, number, expired ? "has expired on" : "is not valid before",
               date.failed ? "?" : date.data,
               expired ? "renew it" : "use it from then on, or correct this host's clock");
    buf_fini(&date);
    return false;
}

/* What was written to a memory BIO, as a string. NULL when out of memory. */
static char *take_text(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);

    return len <= 0 ? NULL : strndup(data, (size_t)len);
}

/* The certificates of a PEM file, written anew; *first is the first of them, the caller's. NULL after an
 * error. */
static char *read_certificates(struct job *job, const char *option, const char *path, X509 **first)
{
    size_t len = 0;
    size_t count = 0;
    bool good = true;
    bool encrypted = false;
    char *pem = NULL;
    X509 *one;
    char *data = read_file(job, option, path, &len);

    if (data == NULL)
        return NULL;
    BIO *in = BIO_new_mem_buf(data, (int)len);
    BIO *out = BIO_new(BIO_s_mem());
    while (in != NULL && out != NULL && good &&
           (one = PEM_read_bio_X509(in, NULL, refuse_password, &encrypted)) != NULL) {
        count++;
        good = (first == NULL || is_current(job, path, count, one)) && PEM_write_bio_X509(out, one) == 1;
        if (first != NULL && *first == NULL)
            *first = one;
        else
            X509_free(one);
    }
    if (good && (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)) {
        conf_error(&job->load->errors, line_of(job, option),
                   count == 0 ? "%s %s holds no certificate in PEM format: name a file that does"
                              : "%s %s holds something unreadable behind its first certificates: correct it",
                   option, path);
        good = false;
    }
    if (good && (pem = take_text(out)) == NULL)
        conf_error_memory(&job->load->errors);
    BIO_free(in);
    BIO_free(out);
    secret_wipe(data, len); /* a key may stand beside a certificate */
    free(data);
    ERR_clear_error();
    return pem;
}

/* ---- the key */

static struct secret *write_key(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem()); /* wipes what it frees */
    struct secret *secret = NULL;
    char *data = NULL;
    long len;

    if (out != NULL && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
        (len = BIO_get_mem_data(out, &data)) > 0)
        secret = secret_new(data, (size_t)len);
    BIO_free(out);
    return secret;
}

/* The key in the file, the caller's; NULL after an error. */
static EVP_PKEY *read_key(struct job *job, const char *path)
{
    struct buf reason = {0};
    size_t len = 0;
    bool encrypted = false;
    EVP_PKEY *key = NULL;
    int fd = keyfile_open(path, &reason);
    char *data = fd < 0 ? NULL : fd_read_file(fd, FILE_SIZE_MAX, &len);

    if (fd >= 0 && data == NULL)
        buf_printf(&reason, "key file %s cannot be read: %s", path, strerror(errno));
    if (data != NULL) {
        BIO *in = BIO_new_mem_buf(data, (int)len);

        key = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, refuse_password, &encrypted);
        BIO_free(in);
        secret_wipe(data, len);
        free(data);
        if (key == NULL && encrypted)
            buf_printf(&reason,
                       "key file %s is encrypted, and nobody is there to type its passphrase: decrypt it "
                       "with openssl pkey, and let only its owner read it",
                       path);
        else if (key == NULL)
            buf_printf(&reason, "key file %s holds no private key in PEM format: name the file that does",
                       path);
    }
    if (key == NULL)
        conf_error(&job->load->errors, line_of(job, "key"), "%s",
                   reason.failed ? "out of memory" : reason.data);
    buf_fini(&reason);
    fd_close(&fd);
    ERR_clear_error();
    return key;
}

static void load_pair(struct job *job)
{
    struct conf_tls *tls = job->tls;
    X509 *first = NULL;
    EVP_PKEY *key = read_key(job, tls->key);

    tls->chain_pem = read_certificates(job, "certificate", tls->certificate, &first);
    if (key != NULL && tls->chain_pem != NULL && X509_check_private_key(first, key) != 1)
        conf_error(&job->load->errors, line_of(job, "key"),
                   "key %s is not that of the first certificate in %s: name the two that belong together; "
                   "the certificate of this host stands first, its issuers behind it",
                   tls->key, tls->certificate);
    else if (key != NULL && (tls->key_pem = write_key(key)) == NULL)
        conf_error_memory(&job->load->errors);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(first);
}

/* ---- the section */

static void check_client_auth(struct job *job, bool ca_given)
{
    unsigned line = line_of(job, "client_auth");

    if (ca_given && line == 0)
        job->tls->client_auth = CONF_CLIENT_AUTH_REQUIRED;
    if (!ca_given && job->tls->client_auth != CONF_CLIENT_AUTH_NONE)
        conf_error(&job->load->errors, line,
                   "client_auth asks for certificates that nothing could check: add client_ca, the file of "
                   "the authorities that issue them");
}

static void mark_listens(struct conf *conf)
{
    for (size_t i = 0; i < conf->listens.count; i++) {
        struct conf_listen *listen = &conf->listens.items[i];

        listen->tls = !listen->plain && listen->addr.ss_family != AF_UNIX;
    }
}

void conf_tls_load(struct conf_load *load, struct cfg_t *section, struct conf *conf)
{
    struct conf_tls *tls = &conf->tls;
    struct job job = {.load = load, .section = section, .tls = tls};
    bool certificate = is_given(tls->certificate);
    bool key = is_given(tls->key);
    bool client_ca = is_given(tls->client_ca);
    bool good = check_path(&job, "certificate", tls->certificate);

    good = check_path(&job, "key", tls->key) && good;
    good = check_path(&job, "client_ca", tls->client_ca) && good;
    if (certificate != key)
        conf_error(&load->errors, line_of(&job, certificate ? "certificate" : "key"),
                   certificate ? "certificate needs its key: add key = \"/path/to/key.pem\""
                               : "key needs its certificate: add certificate = \"/path/to/chain.pem\"");
    if (client_ca && !certificate && !key)
        conf_error(&load->errors, line_of(&job, "client_ca"),
                   "client_ca without certificate and key: no address speaks TLS, add the two");
    check_client_auth(&job, client_ca);
    if (!certificate || !key)
        return;
    mark_listens(conf);
    if (!good || load->keyless)
        return;
    load_pair(&job);
    if (client_ca)
        tls->client_ca_pem = read_certificates(&job, "client_ca", tls->client_ca, NULL);
    if (getrandom(tls->ticket_key, sizeof(tls->ticket_key), 0) != (ssize_t)sizeof(tls->ticket_key))
        conf_error(&load->errors, 0, "the kernel gives no random bytes: %s", strerror(errno));
}

void conf_tls_fini(struct conf_tls *tls)
{
    free(tls->certificate);
    free(tls->key);
    free(tls->client_ca);
    free(tls->chain_pem);
    free(tls->client_ca_pem);
    secret_free(&tls->key_pem);
    secret_wipe(tls->ticket_key, sizeof(tls->ticket_key));
}
