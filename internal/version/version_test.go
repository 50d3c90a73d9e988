package version

import (
	"bytes"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestWhatABuildIsCalled(t *testing.T) {
	const hash = "0e9e5a247ff06743442c6f194f8e0a1bb08d9687"
	checkout := func(version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version},
			Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: hash}, {Key: "vcs.modified", Value: modified}}}
	}
	for _, tt := range []struct {
		name            string
		release, commit string
		info            *debug.BuildInfo
		first, second   string
	}{
		{"a release", "v1.2.3", hash, &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "tool v1.2.3", "commit " + hash},
		{"a release, whatever the go command thinks", "v1.2.3", hash, checkout("v0.0.0-1", "true"), "tool v1.2.3", "commit " + hash},
		{"a release from a source archive", "v1.2.3", "", nil, "tool v1.2.3", "commit not known"},
		{"go install of a version", "", "", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "tool v1.2.3", "commit not known"},
		{"a checkout", "", "", checkout("v1.2.4-0.20261122100000-0e9e5a247ff0", "false"), "tool v1.2.4-0.20261122100000-0e9e5a247ff0", "commit " + hash},
		{"a checkout with changes", "", "", checkout("(devel)", "true"), "tool devel", "commit " + hash + ", with changes"},
		{"go build without version control", "", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "tool devel", "commit not known"},
		{"a program without a description", "", "", nil, "tool devel", "commit not known"},
	} {
		i := of("tool", tt.release, tt.commit, tt.info)
		var out bytes.Buffer
		if err := i.Print(&out); err != nil {
			t.Fatal(err)
		}
		want := tt.first + "\n" + tt.second + "\nbuilt with " + runtime.Version() + " for " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
		if out.String() != want {
			t.Errorf("%s: %q, expected %q", tt.name, out.String(), want)
		}
		if b, err := json.Marshal(i); err != nil || strings.Contains(string(b), `"commit"`) == strings.Contains(tt.second, "not known") {
			t.Errorf("%s: %s, %v: a commit that is not known is not there", tt.name, b, err)
		}
	}
}

func TestUserAgentIsOneWord(t *testing.T) {
	if got := UserAgent("pauselog"); got != "pauselog/"+Of("pauselog").Version || strings.ContainsAny(got, " \n") {
		t.Errorf("%q", got)
	}
}
