package installer

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var clients = []string{"cpanm", "carton", "cpan", "cpm", "minicpan"}

// clientName returns which client an argument names, "" if it is none.
func clientName(arg string) string {
	name := strings.TrimSuffix(filepath.Base(arg), ".pl")
	for _, client := range clients {
		// As distributions and version managers name it where there are several perls.
		if rest, ok := strings.CutPrefix(name, client); ok && versionSuffix.MatchString(rest) {
			return client
		}
	}
	if name == "cpanm-menlo" {
		return "cpanm"
	}
	return ""
}

var versionSuffix = regexp.MustCompile(`^(-?v?5\.[0-9.]+(-.*)?)?$`)

// Programs that start another one in the environment that they have.
var wrappers = []string{"env", "nice", "ionice", "chrt", "nohup", "time", "timeout", "stdbuf", "setsid", "fakeroot", "xvfb-run", "perlbrew", "plenv"}

// Programs that start another one in an environment of its own, or somewhere else.
var launchers = map[string]string{
	"sudo": "another environment", "doas": "another environment", "su": "another environment", "runuser": "another environment",
	"pkexec": "another environment", "systemd-run": "another environment",
	"docker": "a place that the mirror is not at", "podman": "a place that the mirror is not at", "nerdctl": "a place that the mirror is not at",
	"kubectl": "a place that the mirror is not at", "ssh": "a place that the mirror is not at", "chroot": "a place without the settings for this run",
}

// Of a wrapper's options, these are followed by a value.
var wrapperValues = []string{"-n", "-c", "-k", "-s", "-o", "-e", "-i", "-p", "-u", "-I", "--with"}

var skippable = regexp.MustCompile(`^(-.*|[0-9.]+[smhd]?|exec|perl[-0-9.@a-z]*)$`)

// ours are the variables that lead to the mirror.
var ours = []string{"PERL_CPANM_OPT", "PERL_CPANM_HOME", "PERL_CARTON_MIRROR", "PERL_CPM_HOME", "PERL5OPT", "CPAN_OPTS", "POSIXLY_CORRECT",
	"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", "CURL_HOME", "WGETRC"}

// A start is how a command starts a client.
type start struct {
	at     int    // where the client is, -1 if it is not known
	client string // which it is
	loses  []string
}

// startOf looks for the client, also behind perl, env and the like, and for what keeps it from the environment that it needs.
func startOf(command []string) start {
	s := start{at: -1}
	var wrapper string
	taint := ""
	for i := 0; i < len(command); i++ {
		arg := command[i]
		name := filepath.Base(arg)
		if why, ok := launchers[name]; ok {
			s.loses = append(s.loses, fmt.Sprintf("%s starts a command in %s: have it start pauselog", name, why))
			return s
		}
		if client := clientName(arg); client != "" {
			s.at, s.client = i, client
			break
		}
		isPerl := wrapper == "perl"
		switch {
		case name == "perl" || strings.HasPrefix(name, "perl5") || strings.HasPrefix(name, "perl-"):
			wrapper = "perl"
		case slices.Contains(wrappers, name):
			wrapper = name
		case i == 0:
			return s
		case wrapper == "env" && (arg == "-" || arg == "-i" || arg == "--ignore-environment" || emptyEnv.MatchString(arg)):
			s.loses = append(s.loses, "env "+arg+" takes away the environment that leads to the mirror")
		case wrapper == "env" && (arg == "-u" || arg == "--unset") && i+1 < len(command):
			i++
			s.unsets(command[i])
		case wrapper == "env" && strings.HasPrefix(arg, "--unset="):
			s.unsets(strings.TrimPrefix(arg, "--unset="))
		case wrapper == "env" && strings.Contains(arg, "=") && !strings.HasPrefix(arg, "-"):
			variable, _, _ := strings.Cut(arg, "=")
			s.unsets(variable)
		case isPerl && perlTaints.MatchString(arg):
			taint = arg
		case isPerl && (arg == "-I" || arg == "-M") && i+1 < len(command):
			i++
		case isPerl && !perlSwitch.MatchString(arg):
			return s.tainted(taint)
		case isPerl:
		case slices.Contains(wrapperValues, arg) && i+1 < len(command):
			i++
		case skippable.MatchString(arg):
		default:
			return s.tainted(taint)
		}
	}
	return s.tainted(taint)
}

var (
	emptyEnv   = regexp.MustCompile(`^-[0v]*i`)
	perlSwitch = regexp.MustCompile(`^-([IM].*|[SwWX]+)$`)
	perlTaints = regexp.MustCompile(`^-[SwWX]*[tT]`)
)

func (s *start) unsets(variable string) {
	if slices.Contains(ours, variable) {
		s.loses = append(s.loses, "env changes "+variable+", which leads to the mirror")
	}
}

// tainted returns the start, where perl checks for tainted data: it then reads no PERL5OPT, and CPAN.pm has no settings but the user's.
func (s start) tainted(by string) start {
	if by != "" && (s.client == "" || s.client == "cpan") {
		s.loses = append(s.loses, "perl "+by+" does not read PERL5OPT, which leads CPAN.pm to the mirror")
	}
	return s
}
