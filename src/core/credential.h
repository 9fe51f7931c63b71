/*
 * credential: does a request bring its own credential, and which fields must not travel.
 *
 * No credential at all: an empty value, an Authorization scheme with nothing behind it, and the placeholder
 * word `claviger` (alone, or behind "Bearer "), which SDKs that insist on a key are given. A value whose
 * token begins with `clv_` is a gateway token, never the client's own provider credential.
 */
#ifndef CLAVIGER_CORE_CREDENTIAL_H
#define CLAVIGER_CORE_CREDENTIAL_H

#include "core/provider.h"

#define CREDENTIAL_PLACEHOLDER  "claviger"
#define CREDENTIAL_TOKEN_PREFIX "clv_"
#define CREDENTIAL_TOKEN_HEADER "X-Claviger-Token"

enum credential_kind {
    CREDENTIAL_CENTRALIZED,   /* the pool's keys */
    CREDENTIAL_BYOK,          /* the client's own, once and as it is; also a provider without keys */
    CREDENTIAL_UNKNOWN_TOKEN, /* a gateway token that no client has: 401 */
};

/* Which of them a request is, by its header fields. A provider without keys is always BYOK (unless a gateway
 * token says otherwise); `byok = false` makes every other request centralized. */
enum credential_kind credential_judge(const struct provider *provider, const struct header_list *headers);

/* Whether a header of that name carries a credential for any type of provider, any configured provider, or
 * the gateway itself. */
bool credential_is_header(const struct provider_list *providers, const char *name);

/* Removes every credential header: before a centralized attempt. */
void credential_strip(const struct provider_list *providers, struct header_list *headers);

/* Removes gateway tokens and placeholders only: before a BYOK attempt that has a credential of its own. On a
 * request without any credential of its own nothing but gateway tokens is removed. */
void credential_strip_gateway(const struct provider *provider, struct header_list *headers);

#endif
