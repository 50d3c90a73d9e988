package installer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Request is a command that is to run with a mirror.
type Request struct {
	Command  []string  // its name and arguments
	Environ  []string  // as os.Environ returns it
	Dir      string    // where it runs; "" is the present folder
	Stdin    io.Reader // what it may read; nil: nothing
	Terminal bool      // Stdin is one

	Mirror  string // the mirror's URL, without a slash at the end
	Private string // a folder for this run alone: caches and settings

	// Versions says that the mirror knows of versions that are not in the index any more, so that clients are to ask it.
	Versions bool

	// AllowDirect lets pass what goes round the mirror, with a warning; also, of what a proxy would turn away, all but plain HTTP.
	AllowDirect bool
}

// A Plan is how to run it.
type Plan struct {
	Command  []string
	Environ  []string
	Stdin    io.Reader // nil: that of the request
	Warnings []string
	Client   string // cpanm, carton, cpan, cpm, minicpan; "" if it is not known
}

// A Bypass is an error: something in the command goes round the mirror.
type Bypass struct{ What []string }

func (b *Bypass) Error() string {
	return "not everything would pass through the mirror: " + strings.Join(b.What, "; ") + ". Leave that out, or say --allow-direct to install it unverified"
}

// Prepare makes the plan, and writes what it needs into the private folder.
func Prepare(r Request) (*Plan, error) {
	if len(r.Command) == 0 {
		return nil, fmt.Errorf("there is no command to run")
	}
	p := &Plan{Command: slices.Clone(r.Command), Environ: slices.Clone(r.Environ)}
	start := startOf(r.Command)
	p.Client = start.client
	found := start.loses
	var args []string
	if start.at >= 0 {
		args = r.Command[start.at+1:]
	}
	parsed := parseArgs(p.Client, args)
	found = append(found, namedSources(p.Client, parsed, r.Dir)...)
	found = append(found, p.inherited(args)...)
	list, words, err := stdin(p.Client, parsed, r)
	if err != nil {
		return nil, err
	}
	if list != nil {
		p.Stdin = bytes.NewReader(list)
	}
	found = append(found, namedModules(p.Client, words, r.Dir)...)
	for _, file := range requirements(p.Client, parsed, p.get, r.Dir) {
		found = append(found, sourcesIn(file)...)
	}
	if len(found) > 0 && !r.AllowDirect {
		return nil, &Bypass{found}
	}
	for _, f := range found {
		p.Warnings = append(p.Warnings, f+": installed unverified")
	}
	if start.at < 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s is no client that pauselog knows: the clients that it starts are set up by their environment alone", filepath.Base(r.Command[0])))
	}
	if err := p.environment(r); err != nil {
		return nil, err
	}
	if start.at >= 0 {
		p.Command = append(p.Command[:start.at+1:start.at+1], withFlags(p.Client, args, parsed, r)...)
	}
	return p, nil
}

// inherited returns what in the environment names another source and is not overridden.
func (p *Plan) inherited(args []string) (found []string) {
	if p.Client == "cpanm" || p.Client == "" {
		words := strings.Fields(p.get("PERL_CPANM_OPT"))
		o := cpanmOptions.parse(words)
		// Our own --from comes after the other options that name one, and replaces them.
		if given, ok := o.last("mirror-index"); ok {
			found = append(found, given.given+" names another source, in $PERL_CPANM_OPT")
		}
		for _, f := range namedModules("cpanm", o.words, "") {
			found = append(found, f+", in $PERL_CPANM_OPT")
		}
		if o.end < len(words) && words[o.end] == "--" {
			found = append(found, "-- ends all options, in $PERL_CPANM_OPT")
		}
	}
	if words := strings.Fields(p.get("CPAN_OPTS")); len(words) > 0 && (p.Client == "cpan" || p.Client == "") {
		// They come after the arguments, where a module ends the options.
		before := len(namedSources("cpan", parseArgs("cpan", args), ""))
		for _, f := range namedSources("cpan", parseArgs("cpan", slices.Concat(args, words)), "")[before:] {
			found = append(found, f+", in $CPAN_OPTS")
		}
	}
	return found
}

// environment sets what every client needs, because a command may start any of them.
func (p *Plan) environment(r Request) error {
	for _, dir := range []string{"cpanm", "cpm", "cpan"} {
		if err := os.MkdirAll(filepath.Join(r.Private, dir), 0o700); err != nil {
			return err
		}
	}
	// cpanm reads its options from here before those of its command line, so these count for a cpanm that a
	// script starts without options of its own.
	words := strings.Fields(p.get("PERL_CPANM_OPT"))
	end := cpanmOptions.parse(words).end
	p.set("PERL_CPANM_OPT", strings.Join(slices.Concat(words[:end], cpanmFlags(r), words[end:]), " "))
	// With it, clients take no option that follows a module, as ours do.
	p.unset("POSIXLY_CORRECT")
	p.set("PERL_CPANM_HOME", filepath.Join(r.Private, "cpanm"))
	p.set("PERL_CARTON_MIRROR", r.Mirror)
	p.set("PERL_CPM_HOME", filepath.Join(r.Private, "cpm"))
	// The user's proxy is for the mirror's own requests; no client may ask it for the mirror.
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"} {
		p.unset(name)
	}
	p.set("no_proxy", "127.0.0.1,localhost")
	if err := p.proxy(r); err != nil {
		return err
	}
	if p.Client != "cpan" && p.Client != "" {
		return nil
	}
	return p.cpanConfig(r)
}

// proxy makes the mirror the proxy of clients that may ask other hosts, so that these requests come to it too. Of
// those that only a build makes it is not: what a distribution downloads is its own affair.
func (p *Plan) proxy(r Request) error {
	versions := r.Versions && p.Client == "cpanm"
	if p.Client != "carton" && p.Client != "minicpan" && p.Client != "" && !versions {
		return nil
	}
	// Carton asks cpan.metacpan.org and backpan.perl.org for what its mirror refused; whoever asks for versions
	// asks cpanmetadb and MetaCPAN, and these two; minicpan what its settings add; a program that is not known may start cpm,
	// which has no settings in the environment and asks by TLS.
	p.set("http_proxy", r.Mirror)
	if !r.AllowDirect {
		// The mirror refuses tunnels: what asks by TLS fails, and does not go round.
		for _, name := range []string{"HTTPS_PROXY", "FTP_PROXY"} {
			p.unset(name)
		}
		p.set("https_proxy", r.Mirror)
		p.set("ftp_proxy", r.Mirror)
	}
	if r.Versions {
		// By this name Carton asks as if it had no mirror of its own, which would have an index and no more.
		p.set("PERL_CARTON_MIRROR", "http://cpan.metacpan.org/")
	}
	// The user's settings of these two may name other proxies, or hosts to ask without one.
	empty := filepath.Join(r.Private, "fetch")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		return err
	}
	for _, name := range []string{".curlrc", "wgetrc"} {
		if err := os.WriteFile(filepath.Join(empty, name), nil, 0o600); err != nil {
			return err
		}
	}
	p.set("CURL_HOME", empty)
	p.set("WGETRC", filepath.Join(empty, "wgetrc"))
	return nil
}

func (p *Plan) get(name string) string {
	for _, e := range slices.Backward(p.Environ) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func (p *Plan) unset(name string) {
	p.Environ = slices.DeleteFunc(p.Environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

func (p *Plan) set(name, value string) {
	p.unset(name)
	p.Environ = append(p.Environ, name+"="+value)
}
