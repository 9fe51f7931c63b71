# Writes the list of metrics for clavigerd(8) from src/io/metrics.def.
# An entry is METRIC(ID, TYPE, "name", LABELS(LABEL_A, ...), "help"), over one or several lines.
/^METRIC\(/ { entry = "" }
{ entry = entry " " $0 }
/"\)$/ {
    split(entry, quoted, "\"")
    name = quoted[2]
    help = quoted[4]
    type = entry
    sub(/^[^,]*, */, "", type)
    sub(/,.*/, "", type)
    labels = entry
    sub(/.*LABELS\(/, "", labels)
    sub(/\).*/, "", labels)
    gsub(/LABEL_/, "", labels)
    gsub(/,/, " ,", labels)
    labels = tolower(labels)
    print ".It Li " name
    print tolower(substr(type, 1, 1)) tolower(substr(type, 2)) (labels == "none" ? "." : ", by\n.Va " labels " .")
    print help
    entry = ""
}
