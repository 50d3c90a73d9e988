package witnessd

import (
	"bufio"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
)

var (
	commentLine = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
	sampleLine  = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)$`)
)

// parse reads Prometheus's text format line by line, and fails on what is none: a family without
// help and type, a sample outside of its family, the same sample twice, a value that is no number.
func parse(t *testing.T, text string) (samples map[string]float64, families map[string]string) {
	t.Helper()
	samples, families = map[string]float64{}, map[string]string{}
	family, help := "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line has no end")
	}
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		line := in.Text()
		if m := commentLine.FindStringSubmatch(line); m != nil {
			switch {
			case m[1] == "HELP":
				help = m[2]
			case m[2] != help || families[m[2]] != "":
				t.Errorf("a type in the wrong place: %s", line)
			default:
				family, families[m[2]] = m[2], m[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a line of the format: %q", line)
			continue
		}
		name := m[1]
		if families[family] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		if name != family {
			t.Errorf("a sample of the family %s: %s", family, line)
		}
		if families[family] == "counter" && !strings.HasSuffix(name, "_total") {
			t.Errorf("a counter that is not called total: %s", line)
		}
		key := m[1] + "{" + m[2] + "}"
		if _, twice := samples[key]; twice {
			t.Errorf("twice: %s", line)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Errorf("no number: %s", line)
		}
		samples[key] = v
	}
	return samples, families
}

func TestMetrics(t *testing.T) {
	f := initialised(t)
	l, quoted := testlog.New(t, "log.example/pause", 1), testlog.New(t, `log.example/"quo\ted"`, 2)
	for _, l := range []*testlog.Log{l, quoted} {
		if err := f.AddLog(l.VKeys()...); err != nil {
			t.Fatal(err)
		}
	}
	outcomes(t, f, Change{Kind: DisableLog, Origin: quoted.Name})
	s := run(t, f, func(c *Config) { c.Clock = &fixedClock{made} })
	s.ask(l, 0, 3)
	s.ask(l, 3, 8)
	if err := l.Ask(t.Context(), t, s.client(), nil, 3, 9); err == nil {
		t.Error("a wrong size was cosigned")
	}
	if err := testlog.New(t, "log.example/unknown", 3).Ask(t.Context(), t, s.client(), nil, 0, 1); err == nil {
		t.Error("an unknown log was cosigned")
	}
	status, text := s.get("/metrics")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	samples, families := parse(t, text)
	for key, want := range map[string]float64{
		`pausewitness_healthy{}`:                                                             1,
		`pausewitness_clock_ok{}`:                                                            1,
		`pausewitness_state_ok{}`:                                                            1,
		`pausewitness_last_signed_timestamp_seconds{}`:                                       float64(made.Unix()),
		`pausewitness_logs{}`:                                                                2,
		`pausewitness_log_disabled{origin="log.example/pause"}`:                              0,
		`pausewitness_log_disabled{origin="log.example/\"quo\\ted\""}`:                       1,
		`pausewitness_log_size{origin="log.example/pause"}`:                                  8,
		`pausewitness_log_cosigned_timestamp_seconds{origin="log.example/pause"}`:            float64(made.Unix()),
		`pausewitness_log_cosigned_timestamp_seconds{origin="log.example/\"quo\\ted\""}`:     0,
		`pausewitness_answers_total{origin="log.example/pause",status="200"}`:                2,
		`pausewitness_answers_total{origin="log.example/pause",status="409"}`:                1,
		`pausewitness_answers_total{origin="",status="404"}`:                                 1,
		`pausewitness_contradictions_total{origin="log.example/pause"}`:                      0,
		`pausewitness_unproven_total{origin="log.example/pause"}`:                            0,
		`pausewitness_signer_failures_total{}`:                                               0,
		`pausewitness_evidence_files{kind="contradiction"}`:                                  0,
		`pausewitness_evidence_files{kind="unproven"}`:                                       0,
		`pausewitness_http_requests_total{kind="add-checkpoint",status="200"}`:               2,
		`pausewitness_http_request_duration_seconds_bucket{kind="add-checkpoint",le="+Inf"}`: 4,
		`pausewitness_http_request_duration_seconds_count{kind="add-checkpoint"}`:            4,
		`pausewitness_http_panics_total{}`:                                                   0,
	} {
		if got, ok := samples[key]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
		}
	}
	for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds", "go_goroutines"} {
		if samples[name+"{}"] <= 0 {
			t.Errorf("%s is %v", name, samples[name+"{}"])
		}
	}
	// Each is explained to operators, and what is explained is there.
	doc, err := os.ReadFile("../../deploy/WITNESS.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range families {
		if !strings.Contains(string(doc), "| `"+name) {
			t.Errorf("%s is not in deploy/WITNESS.md", name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(pausewitness_[a-z_]+)").FindAllStringSubmatch(string(doc), -1) {
		if families[m[1]] == "" {
			t.Errorf("%s is in deploy/WITNESS.md only", m[1])
		}
	}
}

func TestMetricsOfATroubledWitness(t *testing.T) {
	f, l := signedOnce(t)
	fork(t, f, l)
	s := run(t, f, func(c *Config) { c.Clock = &fixedClock{made.AddDate(-1, 0, 0)} })
	_, text := s.get("/metrics")
	samples, _ := parse(t, text)
	for key, want := range map[string]float64{
		`pausewitness_healthy{}`:                            0,
		`pausewitness_clock_ok{}`:                           0,
		`pausewitness_state_ok{}`:                           1,
		`pausewitness_evidence_files{kind="contradiction"}`: 1,
	} {
		if got, ok := samples[key]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
		}
	}
}
