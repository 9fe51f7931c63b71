# The pictures of the report: gnuplot in the report's directory.
set terminal svg size 900,480 font "sans,12" background "white"
set style fill solid 0.7
set boxwidth 0.9
set grid y
set key top left
files = system("ls")
has(name) = strstrt(files, name) > 0

# ---- bars

set style data histograms
set yrange [0:*]
if (has("ratios.dat")) {
    set output "ratios.svg"
    set title "Requests for a second, nginx = 1 (more is better)"
    set xtics rotate by -25
    set key outside top center horizontal
    plot "ratios.dat" using 2:xtic(1) title "claviger", "" using 3 title "claviger, by CPU time", \
        "" using 4 title "haproxy", 1 with lines lc "black" notitle
    set xtics norotate
    set key inside top left
}
if (has("memory.dat")) {
    set output "memory.svg"
    set title "Memory of an idle stream, KB"
    set xlabel "streams"
    plot "memory.dat" using 2:xtic(1) title "claviger", "" using 3 title "claviger, header_size 8K", "" using 4 title "nginx"
}
if (has("workers.dat")) {
    set output "workers.svg"
    set title "CPU time of a GET with so many workers, microseconds"
    set xlabel "workers"
    plot "workers.dat" using 2:xtic(1) title "claviger", "" using 3 title "nginx"
}
unset xlabel
if (has("parts.dat")) {
    set output "parts.svg"
    set title "What it costs to see what happens: CPU time added to a request, microseconds"
    set yrange [1:*]
    set logscale y
    plot "parts.dat" using ($2 > 1 ? $2 : 1):xtic(1) title "GET 1 KB", "" using ($3 > 1 ? $3 : 1) title "POST 10 KB"
    unset logscale y
}

# ---- lines

set style data linespoints
set xlabel "percent of the requests"
set yrange [10:*]
set logscale y
set xtics (50, 75, 90, 99)
do for [name in "get post https events"] {
    if (has("latency-" . name . ".dat")) {
        set output "latency-" . name . ".svg"
        set title "Latency, microseconds: " . (name eq "get" ? "GET 1 KB" : name eq "post" ? "POST 10 KB" : \
            name eq "https" ? "GET 1 KB, https upstream" : "an event to 100 streams")
        third = name eq "events" ? "direct" : "haproxy"
        if (has("latency-" . name . "-" . third . ".dat")) {
            plot "latency-" . name . ".dat" using 1:2 title "claviger", "" using 1:3 title "nginx", \
                "latency-" . name . "-" . third . ".dat" using 1:2 title third
        } else {
            plot "latency-" . name . ".dat" using 1:2 title "claviger", "" using 1:3 title "nginx"
        }
    }
}
unset logscale y
set xtics auto
set yrange [0:*]
if (has("beside.dat")) {
    set output "beside.svg"
    set title "CPU time of a GET beside idle streams, microseconds"
    set xlabel "streams"
    plot "beside.dat" using 1:2 title "claviger", "" using 1:3 title "nginx"
}
if (has("pool.dat")) {
    set output "pool.svg"
    set title "CPU time of a GET, all keys but the last marked, microseconds"
    set xlabel "keys"
    set logscale x 2
    plot "pool.dat" using 1:2 title "claviger"
    unset logscale x
}
if (has("body.dat")) {
    set output "body.svg"
    set title "CPU time of a POST, microseconds"
    set xlabel "bytes"
    set logscale xy
    set yrange [*:*]
    set xrange [50:2e6]
    plot "< sort -n body.dat" using 1:2 title "claviger", "" using 1:3 title "nginx"
}
