package daemon_test

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Connections are counted on both public addresses, also below TLS, and their limit is there to compare with.
func TestConnectionsAreCounted(t *testing.T) {
	s := start(t, config(newFolder(t)))
	submit(t, s.client(t), 0, 1) // a connection of gRPC
	idle, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	// What says nothing is accepted after what was said by another later: wait until it is.
	if _, err := idle.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_, metrics := read(t, "http://"+s.Admin+"/metrics")
	for _, line := range []string{
		`pauselog_connections{listener="grpc"} 1`, `pauselog_connections{listener="http"} 1`,
		`pauselog_connections_limit{listener="grpc"} 1024`, `pauselog_connections_limit{listener="http"} 1024`,
		`pauselog_connections_accepted_total{listener="grpc"} 1`, `pauselog_connections_accepted_total{listener="http"} 1`,
		`pauselog_connections_refused_total{listener="grpc"} 0`, `pauselog_connections_refused_total{listener="http"} 0`,
		`pauselog_connections_evicted_total{listener="grpc"} 0`, `pauselog_connections_evicted_total{listener="http"} 0`,
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("the metrics do not have %q", line)
		}
	}
}

// Each figure of a log is explained to its operators, and nothing is explained that is not there.
func TestMetricsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../deploy/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `(pauselog_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = true
	}
	// With witnesses it has all of them.
	w := newWitnessed(t)
	s := start(t, w.config())
	w.submit(s.client(t), 0)
	if code, body := read(t, "http://"+s.HTTP+"/checkpoint"); code != 200 {
		t.Fatalf("%d %s", code, body) // a static read is counted
	}
	_, metrics := read(t, "http://"+s.Admin+"/metrics")
	exported := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^# TYPE (pauselog_[a-z_]+) ").FindAllStringSubmatch(metrics, -1) {
		exported[m[1]] = true
		if !documented[m[1]] {
			t.Errorf("%s is not in deploy/METRICS.md", m[1])
		}
	}
	for name := range documented {
		if !exported[name] {
			t.Errorf("%s is in deploy/METRICS.md, and no log has it", name)
		}
	}
}
