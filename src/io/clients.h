/*
 * clients: reads the file of client tokens that the option `clients` names.
 *
 *     NAME:HASH[:PROVIDERS[:BYOK]]
 *
 * a line each; blank lines and lines that begin with # are skipped, white space around a line is cut. HASH is
 * the hexadecimal SHA-256 of the token; PROVIDERS are names of configured providers with commas between,
 * empty = all; BYOK is `byok` (or empty) or `nobyok`. A NAME may stand twice, so that a token can be changed
 * without a gap; both lines then say the same about providers and BYOK. A HASH may stand once. Refused: a
 * file that others than its owner and group can write (the hashes are no secrets, but a line more is a client
 * more), not a regular file, over 1 MiB, over 4096 clients. A file without any client is fine: nobody has a
 * token then.
 */
#ifndef CLAVIGER_IO_CLIENTS_H
#define CLAVIGER_IO_CLIENTS_H

#include "core/client.h"
#include "io/conf_errors.h"

#define CLIENTS_MAX 4096

/*
 * Reads the file into *list, which is empty before. providers must outlive the list and stay where they are.
 * What is wrong goes to errors: about the file as a whole at `line` of the configuration, about a line of it
 * as "PATH:LINE: what and what to do", where no token and no hash is ever part of it; after the tenth it
 * gives up. 0, or -1 and the list is empty.
 */
int clients_load(const char *path, const struct provider_list *providers, struct conf_errors *errors,
                 unsigned line, struct client_list *list);

#endif
