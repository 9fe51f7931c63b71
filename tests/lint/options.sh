#!/bin/sh
# Every option and section that the daemon knows (the CFG_ tables in src/io/conf*.c) stands in the manual page and in
# the sample configuration, in the section where it belongs.
set -eu
cd "$(dirname "$0")/../.."

man=man/claviger.conf.5.in
sample=etc/claviger.conf.in
status=0

complain() {
    echo "options: $1" >&2
    status=1
}

# "SECTION OPTION" a line; SECTION is main, provider, log, ... by the name of the table.
# shellcheck disable=SC2016 # the program's $ are awk's
options=$(cat src/io/conf*.c | awk '
/conf_option [a-z_]+_options\[\] = \{/ {
    section = $0
    sub(/_options\[\].*/, "", section)
    sub(/.* (conf_)?/, "", section)
}
/^\};/ { section = "" }
section != "" && /CFG_[A-Z]+\("/ {
    name = $0
    sub(/.*CFG_[A-Z]+\("/, "", name)
    sub(/".*/, "", name)
    print section, name
}')
if [ "$(echo "$options" | wc -l)" -lt 30 ]; then
    complain "src/io/conf*.c: the tables were not found"
fi

# What the manual page tells of a section: the .It Ic lines under its .Ss heading, which names it by .Ic.
in_man() {
    # shellcheck disable=SC2016
    awk -v section="$1" -v name="$2" '
    /^\.S[sh] / { here = ($0 ~ /OPTIONS/ ? "main" : $0 ~ /Ic / ? $NF : "") }
    here == section && $1 == ".It" && $2 == "Ic" && $3 == name { found = 1 }
    END { exit !found }' "$man"
}

# In the sample an option may be commented out.
in_sample() {
    # shellcheck disable=SC2016
    awk -v section="$1" -v name="$2" '
    BEGIN { here = "main" }
    { sub(/^[ \t]*#?[ \t]*/, "") }
    /^[a-z]+( [a-z]+)? *\{/ { here = $1 }
    here == section && $1 == name && $2 == "=" { found = 1 }
    /^\}/ { here = "main" }
    END { exit !found }' "$sample"
}

for file in "$man" "$sample"; do
    [ -r "$file" ] || complain "$file is missing"
done
[ $status -eq 0 ] || exit $status

while read -r section name; do
    in_man "$section" "$name" || complain "$man does not tell of $name (section $section)"
    in_sample "$section" "$name" || complain "$sample does not show $name (section $section)"
done <<END
$options
END
exit $status
