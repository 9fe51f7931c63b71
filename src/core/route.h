/*
 * route: from a request's raw target to a provider. Nothing is decoded or normalised on the way.
 */
#ifndef CLAVIGER_CORE_ROUTE_H
#define CLAVIGER_CORE_ROUTE_H

#include "core/provider.h"

/*
 * Whether a target's path (everything before "?") may be passed on: no segment that is "." or ".." when its
 * percent-escapes of "." are decoded and encoded slashes and backslashes (%2f, %5c) count as segment ends,
 * and no control byte (0-31, 127), plain or percent-encoded; an encoded control byte in the query is the
 * upstream's business, a plain one is not allowed anywhere. On false *reason is a static text.
 */
bool route_target_is_safe(const char *target, const char **reason);

/*
 * The provider with the longest route that is a prefix of the target's path at a segment boundary ("/a"
 * matches
 * "/a", "/a/", "/a/b", "/a?q", never "/ab"; "/" matches everything). *rest points into target behind the
 * route. NULL when there is none.
 */
const struct provider *route_find(const struct provider_list *providers, const char *target,
                                  const char **rest);

#endif
