/* The table of targets. */
#include "fuzz/fuzz.h"

#include <string.h>

const struct fuzz_target fuzz_targets[] = {
    {"base_url", fuzz_base_url},
    {"chunked", fuzz_chunked},
    {"clients", fuzz_clients},
    {"conf", fuzz_conf},
    {"conf_text", fuzz_conf_text},
    {"credential", fuzz_credential},
    {"dump_json", fuzz_dump_json},
    {"env", fuzz_env},
    {"form", fuzz_form},
    {"forwarded", fuzz_forwarded},
    {"gunzip", fuzz_gunzip},
    {"handover", fuzz_handover},
    {"header", fuzz_header},
    {"hide", fuzz_hide},
    {"http_rules", fuzz_http_rules},
    {"keyfile", fuzz_keyfile},
    {"listen", fuzz_listen},
    {"relay", fuzz_relay},
    {"response_head", fuzz_response_head},
    {"retry_after", fuzz_retry_after},
    {"route", fuzz_route},
    {"trace", fuzz_trace},
    {"usage", fuzz_usage},
    {NULL, NULL},
};

const struct fuzz_target *fuzz_find(const char *name)
{
    for (const struct fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}
