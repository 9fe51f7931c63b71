# The pictures of the report: gnuplot in the report's directory.
set terminal svg size 900,480 font "sans,12"
set style fill solid 0.7
set boxwidth 0.9
set grid y
set key top left
set style data histograms
set yrange [0:*]
files = system("ls")
has(name) = strstrt(files, name) > 0

set xtics rotate by -25
set output "ratios.svg"
set title "Throughput, nginx = 1"
plot "ratios.dat" using 2:xtic(1) title "claviger", "" using 3 title "haproxy", 1 with lines lc "black" notitle

set output "latency.svg"
set title "Latency, microseconds"
set logscale y
set yrange [10:*]
plot "latency.dat" using 2:xtic(1) title "claviger p50", "" using 3 title "claviger p99", \
    "" using 4 title "nginx p50", "" using 5 title "nginx p99"
unset logscale y
set yrange [0:*]
set xtics norotate

set output "memory.svg"
set title "Memory of an idle stream, KB"
plot "memory.dat" using 2:xtic(1) title "claviger", "" using 3 title "nginx"

set output "beside.svg"
set title "CPU time of a GET beside idle streams, microseconds"
plot "beside.dat" using 2:xtic(1) title "claviger", "" using 3 title "nginx"

set style data linespoints
if (has("pool.dat")) {
    set output "pool.svg"
    set title "CPU time of a GET with so many keys, all but the last marked, microseconds"
    plot "pool.dat" using 2:xtic(1) title "claviger"
}
if (has("body.dat")) {
    set output "body.svg"
    set title "CPU time of a POST with so many bytes, microseconds"
    set logscale xy
    set yrange [*:*]
    plot "< sort -n body.dat" using 1:2 title "claviger", "" using 1:3 title "nginx"
}
