/*
 * credential: does a request bring its own credential or a gateway token, may it go on, and which fields must
 * not travel.
 *
 * No credential at all: an empty value, an Authorization scheme with nothing behind it, and the placeholder
 * word `claviger` (alone, or behind "Bearer "), which SDKs that insist on a key are given. A value whose
 * token begins with `clv_`, alone or behind a scheme, or that has a whole token anywhere, and every value of
 * X-Claviger-Token, is a gateway token, never the client's own provider credential. Tokens are looked for in
 * X-Api-Key, Authorization, X-Claviger-Token and the provider's own field.
 */
#ifndef CLAVIGER_CORE_CREDENTIAL_H
#define CLAVIGER_CORE_CREDENTIAL_H

#include "base/secret.h"
#include "core/client.h"
#include "core/provider.h"

#define CREDENTIAL_PLACEHOLDER  "claviger"
#define CREDENTIAL_TOKEN_PREFIX CLIENT_TOKEN_PREFIX
#define CREDENTIAL_TOKEN_HEADER "X-Claviger-Token"

enum credential_kind {
    CREDENTIAL_CENTRALIZED, /* the pool's keys */
    CREDENTIAL_BYOK,        /* the client's own, once and as it is; also a provider without keys */
    /* Refused; credential_refusal() says why. The client may not come in: 401. */
    CREDENTIAL_UNKNOWN_TOKEN, /* a gateway token that no client has */
    CREDENTIAL_TWO_CLIENTS,   /* tokens of two */
    CREDENTIAL_NO_TOKEN,      /* the pool's keys need one */
    /* Its token is not enough: 403. */
    CREDENTIAL_NOT_THIS_PROVIDER,
    CREDENTIAL_NO_BYOK,
};

/*
 * Which of them a request is, by its header fields. A provider without keys is always BYOK, with a token or
 * without; `byok = false` makes every other request centralized. clients: NULL = there is no such file, then
 * every token is unknown and no request needs one. *client: whose token it carries, known also when the
 * request is refused for what that client may not do; NULL = nobody's.
 */
enum credential_kind credential_judge(const struct provider *provider, const struct client_list *clients,
                                      const struct header_list *headers, const struct client_entry **client);

/* Why it is refused, for the client; NULL for the first two kinds. */
const char *credential_refusal(enum credential_kind kind);

/* Whether a header of that name carries a credential for any type of provider, any configured provider, or
 * the gateway itself. Names count as the same when they differ in case, or in which character stands where
 * neither has a letter or digit: a provider behind CGI or WSGI takes X_Api_Key for X-Api-Key. */
bool credential_is_header(const struct provider_list *providers, const char *name);

/* Removes every credential header, and every field that has a gateway token in it: before a centralized
 * attempt. */
void credential_strip(const struct provider_list *providers, struct header_list *headers);

/* Removes gateway tokens, wherever they stand, and placeholders only: before a BYOK attempt that has a
 * credential of its own. On a request without any credential of its own nothing but gateway tokens is
 * removed. */
void credential_strip_gateway(const struct provider *provider, struct header_list *headers);

/* A key of fewer characters is no real one, and may stand in an answer by chance. */
#define CREDENTIAL_ECHO_LEN_MIN 12

/* Removes the fields of a response that repeat the key which the request carried; returns how many. Does
 * nothing for a key that is too short. */
size_t credential_strip_echo(const struct secret *key, struct header_list *headers);

/* Overwrites the key wherever it stands whole in the len bytes of a response's body. Returns how many bytes
 * at the end may be the begin of another: more bytes will tell. The same for a key that is too short. */
size_t credential_hide(const struct secret *key, char *data, size_t len);

#endif
