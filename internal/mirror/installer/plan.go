package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Request is a command that is to run with a mirror.
type Request struct {
	Command []string // its name and arguments
	Environ []string // as os.Environ returns it
	Dir     string   // where it runs; "" is the present folder

	Mirror  string // the mirror's URL, without a slash at the end
	Private string // a folder for this run alone: caches and settings

	// Versions says that the mirror knows of versions that are not in the index any more, so that clients are to ask it.
	Versions bool

	// AllowDirect lets pass arguments that go round the mirror, with a warning.
	AllowDirect bool
}

// A Plan is how to run it.
type Plan struct {
	Command  []string
	Environ  []string
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
	at := clientAt(r.Command)
	if at >= 0 {
		p.Client = clientName(r.Command[at])
	}
	var args []string
	if at >= 0 {
		args = r.Command[at+1:]
	}
	found := bypasses(p.Client, args, r.Dir)
	found = append(found, p.inherited()...)
	for _, c := range cpanfiles(p.Client, args, r.Dir) {
		found = append(found, cpanfileBypasses(c)...)
	}
	if len(found) > 0 && !r.AllowDirect {
		return nil, &Bypass{found}
	}
	for _, f := range found {
		p.Warnings = append(p.Warnings, f+": installed unverified")
	}
	if at < 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s is no client that pauselog knows: the clients that it starts are set up by their environment alone", filepath.Base(r.Command[0])))
	}
	if err := p.environment(r); err != nil {
		return nil, err
	}
	if at >= 0 {
		p.Command = append(p.Command[:at+1:at+1], withFlags(p.Client, args, r)...)
	}
	return p, nil
}

// inherited returns what in the environment goes round the mirror and is not overridden.
func (p *Plan) inherited() (found []string) {
	for _, x := range []struct{ name, client string }{{"PERL_CPANM_OPT", "cpanm"}, {"CPAN_OPTS", "cpan"}} {
		if p.Client != x.client && p.Client != "" {
			continue
		}
		for _, f := range bypasses(x.client, strings.Fields(p.get(x.name)), "") {
			// Our own --from comes after these, and replaces them.
			if !strings.HasPrefix(f, "--from") && !strings.HasPrefix(f, "--mirror ") && !strings.HasPrefix(f, "--mirror=") && !strings.Contains(f, "fetched directly") {
				found = append(found, f+", in $"+x.name)
			}
		}
	}
	return found
}

var clients = []string{"cpanm", "carton", "cpan", "cpm", "minicpan"}

func clientName(arg string) string {
	name := strings.TrimSuffix(filepath.Base(arg), ".pl")
	if strings.HasPrefix(name, "cpan5.") || strings.HasPrefix(name, "cpan-") {
		name = "cpan" // as distributions name it when there are several perls
	}
	if slices.Contains(clients, name) {
		return name
	}
	return ""
}

// clientAt returns where in a command the client is, also behind perl or env; or -1.
func clientAt(command []string) int {
	for i, arg := range command {
		switch name := filepath.Base(arg); {
		case clientName(arg) != "":
			return i
		case i == 0 && (strings.HasPrefix(name, "perl") || name == "env" || name == "nice"):
		case i > 0 && (strings.HasPrefix(arg, "-I") || arg == "-S" || arg == "-T" || arg == "-w" || strings.HasPrefix(name, "perl") || strings.Contains(arg, "=")):
		default:
			return -1
		}
	}
	return -1
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
	p.set("PERL_CPANM_OPT", strings.TrimSpace(p.get("PERL_CPANM_OPT")+" "+strings.Join(cpanmFlags(r), " ")))
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

// proxy makes the mirror the proxy of clients that ask other hosts than a mirror, so that these requests come to it too.
func (p *Plan) proxy(r Request) error {
	versions := r.Versions && p.Client == "cpanm"
	if p.Client != "carton" && p.Client != "" && !versions {
		return nil
	}
	// Carton asks cpan.metacpan.org and backpan.perl.org for what its mirror refused; whoever asks for versions
	// asks cpanmetadb and MetaCPAN, and these two.
	p.set("http_proxy", r.Mirror)
	if p.Client == "carton" || r.Versions {
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

// withFlags returns a client's arguments with ours behind them, where the last one counts.
func withFlags(client string, args []string, r Request) []string {
	var flags []string
	switch client {
	case "cpanm":
		flags = cpanmFlags(r)
	case "minicpan":
		flags = []string{"-r", r.Mirror + "/"}
	case "cpm":
		if slices.Contains(args, "install") {
			flags = []string{"--mirror", r.Mirror, "--mirror-only", "--home", filepath.Join(r.Private, "cpm")}
			if r.Versions {
				flags = append(flags, "--resolver", "metadb,"+r.Mirror+"/v1.0/,"+r.Mirror)
			}
		}
	}
	// What follows "--" are modules.
	end := len(args)
	if i := slices.Index(args, "--"); i >= 0 {
		end = i
	}
	return slices.Concat(args[:end], flags, args[end:])
}

// cpanmFlags are what cpanm needs. --from replaces all mirrors that were named before it, and leaves only an index to search.
// With versions the search for them is allowed again: its hosts are the mirror, by --cpanmetadb and as
// their proxy, which wget and curl could be told to pass by.
func cpanmFlags(r Request) []string {
	flags := []string{"--from", r.Mirror}
	if r.Versions {
		flags = append(flags, "--no-mirror-only", "--cpanmetadb", r.Mirror+"/v1.0/", "--no-wget", "--no-curl")
	}
	return flags
}

// going round, by client: an option with its value, whatever the client makes of it.
var directOptions = map[string][]string{
	"cpanm":  {"--from", "--mirror", "--mirror-index", "--cpanmetadb", "--metacpan", "--no-mirror-only"},
	"carton": {"--cached"},
	"cpan":   {"-j", "-M"},
	"cpm": {"--mirror", "--resolver", "-r", "--from", "--snapshot", "--no-mirror-only", "--cpanmetadb", "--metacpan",
		"--no-default-resolvers", "--prebuilt"},
	"minicpan": {"-r", "--remote", "-C"},
}

var url = regexp.MustCompile(`(?i)^(https?|ftp|file|git|ssh|git\+[a-z]+)(:|@)|\.git(@.*)?$`)

// bypasses returns what in a client's arguments goes round the mirror, in words.
func bypasses(client string, args []string, dir string) (found []string) {
	for _, arg := range args {
		option, _, _ := strings.Cut(arg, "=")
		for _, direct := range directOptions[client] {
			if option == direct || len(option) > 4 && strings.HasPrefix(option, "--") && strings.HasPrefix(direct, option) {
				found = append(found, arg+" names another source")
			}
		}
		// Single letters can be written in one argument.
		if client == "cpan" && bundled.MatchString(arg) {
			found = append(found, arg+" names another source")
		}
		if client == "" || client == "carton" || strings.HasPrefix(arg, "-") {
			continue
		}
		if url.MatchString(arg) {
			found = append(found, arg+" is fetched directly")
			continue
		}
		if client == "minicpan" || !strings.ContainsAny(arg, "/.") {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, arg))
		if filepath.IsAbs(arg) {
			info, err = os.Stat(arg)
		}
		if err == nil && info.Mode().IsRegular() && archiveName.MatchString(arg) {
			found = append(found, arg+" is a file on this machine")
		}
	}
	return found
}

var bundled = regexp.MustCompile(`^-[A-Za-z]+[jM]`)

var archiveName = regexp.MustCompile(`(?i)\.(tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|zip|tar|gz)$`)

// cpanfiles returns the cpanfiles that a command reads.
func cpanfiles(client string, args []string, dir string) (names []string) {
	reads := client == "carton" || client == "cpm"
	for i, arg := range args {
		if arg == "--installdeps" {
			reads = client == "cpanm"
		}
		if name, ok := strings.CutPrefix(arg, "--cpanfile="); ok {
			names = append(names, filepath.Join(dir, name))
		}
		if arg == "--cpanfile" && i+1 < len(args) {
			names = append(names, filepath.Join(dir, args[i+1]))
		}
	}
	if reads {
		names = append(names, filepath.Join(dir, "cpanfile"))
		for _, arg := range args {
			if info, err := os.Stat(filepath.Join(dir, arg)); err == nil && info.IsDir() {
				names = append(names, filepath.Join(dir, arg, "cpanfile"))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A cpanfile is Perl. This finds the options as people write them; whoever hides them can as well
// download things in it by code.
var cpanfileOption = regexp.MustCompile(`(?m)^[^#\n]*?\b(git|url|mirror)\b['"]?\s*(?:=>|,)`)

func cpanfileBypasses(name string) (found []string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil // the client says what is wrong with it
	}
	for _, m := range cpanfileOption.FindAllSubmatch(b, -1) {
		found = append(found, fmt.Sprintf("%s has the option %q", filepath.Base(name), m[1]))
	}
	return found
}
