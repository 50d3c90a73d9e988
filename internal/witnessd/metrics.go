package witnessd

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/witness/server"
)

// metricsType is the media type of Prometheus's text format.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// A metrics writes Prometheus's text format. It is small enough to be written here, and spares the
// witness a client library and all that comes with it.
type metrics struct{ bytes.Buffer }

// family begins a family of metrics; its samples follow.
func (m *metrics) family(name, typ, help string) {
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a sample; labels are names and values in turn.
func (m *metrics) sample(name string, value float64, labels ...string) {
	m.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(m, `%s%s="%s"`, separator, labels[i], labelEscapes.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	fmt.Fprintf(m, " %s\n", strconv.FormatFloat(value, 'g', -1, 64))
}

// single writes a family of one sample.
func (m *metrics) single(name, typ, help string, value float64) {
	m.family(name, typ, help)
	m.sample(name, value)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics returns everything that is measured. deploy/WITNESS.md has a table of it.
func (r *running) metrics() []byte {
	m := new(metrics)
	clock, broken := r.witness.ClockProblem(), r.state.Err()
	m.single("pausewitness_healthy", "gauge", "1 if the witness can cosign: its state is sound and its clock plausible.", truth(clock == nil && broken == nil))
	m.single("pausewitness_clock_ok", "gauge", "0 if nothing is cosigned because the clock is not plausible.", truth(clock == nil))
	m.single("pausewitness_state_ok", "gauge", "0 after a failed write to the state.", truth(broken == nil))
	m.single("pausewitness_last_signed_timestamp_seconds", "gauge", "The latest time that was signed or accepted; 0 if none.", float64(r.state.Floor()))
	r.logMetrics(m)
	r.evidenceMetrics(m)
	r.serverMetrics(m)
	r.processMetrics(m)
	return m.Bytes()
}

func (r *running) logMetrics(m *metrics) {
	stats := r.witness.Stats()
	m.single("pausewitness_logs", "gauge", "Logs that the witness knows.", float64(len(stats.Logs)))
	m.family("pausewitness_log_disabled", "gauge", "1 if nothing is cosigned for the log.")
	for _, l := range stats.Logs {
		m.sample("pausewitness_log_disabled", truth(l.Disabled), "origin", l.Origin)
	}
	m.family("pausewitness_log_size", "gauge", "Size that was cosigned last for the log.")
	for _, l := range stats.Logs {
		m.sample("pausewitness_log_size", float64(l.Size), "origin", l.Origin)
	}
	m.family("pausewitness_log_cosigned_timestamp_seconds", "gauge", "Time of the log's last cosignature; 0 if none.")
	for _, l := range stats.Logs {
		m.sample("pausewitness_log_cosigned_timestamp_seconds", float64(l.Time), "origin", l.Origin)
	}
	m.family("pausewitness_answers_total", "counter", "Answers to add-checkpoint by log and HTTP status; the origin is empty for no known log.")
	for _, l := range stats.Logs {
		for _, status := range slices.Sorted(maps.Keys(l.Answers)) {
			m.sample("pausewitness_answers_total", float64(l.Answers[status]), "origin", l.Origin, "status", strconv.Itoa(status))
		}
	}
	for _, status := range slices.Sorted(maps.Keys(stats.Other)) {
		m.sample("pausewitness_answers_total", float64(stats.Other[status]), "origin", "", "status", strconv.Itoa(status))
	}
	m.family("pausewitness_contradictions_total", "counter", "Checkpoints, signed by the log, that contradict one cosigned before.")
	for _, l := range stats.Logs {
		m.sample("pausewitness_contradictions_total", float64(l.Contradictions), "origin", l.Origin)
	}
	m.family("pausewitness_unproven_total", "counter", "Checkpoints, signed by the log, that came with a wrong consistency proof.")
	for _, l := range stats.Logs {
		m.sample("pausewitness_unproven_total", float64(l.Unproven), "origin", l.Origin)
	}
	m.single("pausewitness_signer_failures_total", "counter", "Signatures that a key of the witness was asked for and did not give.", float64(stats.SignerFailures))
}

func (r *running) evidenceMetrics(m *metrics) {
	files, err := evidenceFiles(r.Folder.evidenceDir())
	if err != nil {
		return // absent tells more than 0
	}
	contradictions := 0
	for _, f := range files {
		if f.contradiction {
			contradictions++
		}
	}
	m.family("pausewitness_evidence_files", "gauge", "Files in the folder of evidence.")
	m.sample("pausewitness_evidence_files", float64(contradictions), "kind", "contradiction")
	m.sample("pausewitness_evidence_files", float64(len(files)-contradictions), "kind", "unproven")
}

func (r *running) serverMetrics(m *metrics) {
	s := r.server.Stats()
	m.family("pausewitness_http_requests_total", "counter", "Requests by what they were for and HTTP status.")
	for _, q := range s.Requests {
		m.sample("pausewitness_http_requests_total", float64(q.Count), "kind", string(q.Kind), "status", strconv.Itoa(q.Status))
	}
	m.family("pausewitness_http_request_duration_seconds", "histogram", "Time from the end of a request's head to the end of the answer.")
	for _, l := range s.Latency {
		for i, bound := range server.Buckets {
			m.sample("pausewitness_http_request_duration_seconds_bucket", float64(l.Buckets[i]), "kind", string(l.Kind), "le", strconv.FormatFloat(bound.Seconds(), 'g', -1, 64))
		}
		m.sample("pausewitness_http_request_duration_seconds_bucket", float64(l.Count), "kind", string(l.Kind), "le", "+Inf")
		m.sample("pausewitness_http_request_duration_seconds_sum", l.Sum.Seconds(), "kind", string(l.Kind))
		m.sample("pausewitness_http_request_duration_seconds_count", float64(l.Count), "kind", string(l.Kind))
	}
	m.single("pausewitness_http_connections", "gauge", "Open connections, without those through a bastion.", float64(s.Connections))
	m.single("pausewitness_http_refused_connections_total", "counter", "Connections closed because their client had too many.", float64(s.RefusedConnections))
	m.single("pausewitness_http_bodies", "gauge", "Requests whose body is on its way or being worked on.", float64(s.Bodies))
	m.single("pausewitness_http_body_bytes", "gauge", "Memory of those bodies.", float64(s.BodyBytes))
	m.single("pausewitness_http_cut_total", "counter", "Requests cut off in their body because others waited.", float64(s.Cut))
	m.single("pausewitness_http_panics_total", "counter", "Requests that made the witness panic: faults of this program.", float64(s.Panics))
}

// processMetrics are under the names that other programs use.
func (r *running) processMetrics(m *metrics) {
	m.single("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", float64(r.started.UnixMilli())/1000)
	m.single("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	// What the system does not tell is left out.
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			if pages, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				m.single("process_resident_memory_bytes", "gauge", "Resident memory.", float64(pages)*float64(os.Getpagesize()))
			}
		}
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.single("process_open_fds", "gauge", "Open file descriptors.", float64(len(fds)))
	}
}
