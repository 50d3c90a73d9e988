package installer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A perlParser is the module that the clients use, to compare with.
type perlParser struct {
	stdin  *json.Encoder
	stdout *json.Decoder
}

const perlProgram = `use strict; use Getopt::Long (); use Getopt::Std (); use JSON::PP; $| = 1; $SIG{__WARN__} = sub {};
while (my $line = <STDIN>) {
  my $in = decode_json($line); my (@seen, @words);
  if (defined $in->{letters}) {
    my %o; local @ARGV = @{$in->{args}}; Getopt::Std::getopts($in->{letters}, \%o);
    @seen = map { [0, 0 + ($o{$_} ne '1'), "$_$o{$_}"] } sort keys %o; @words = @ARGV;
  } else {
    my $p = Getopt::Long::Parser->new(config => $in->{config}); my @args = @{$in->{args}}; my $i = 0;
    $p->getoptionsfromarray(\@args, map { my $n = $i++; $_ => sub { push @seen, [$n, 0, "$_[1]"] } } @{$in->{specs}}); @words = @args;
  }
  print encode_json({ seen => \@seen, words => \@words }), "\n";
}`

func startPerl(t *testing.T) *perlParser {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "perl", "-e", perlProgram)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return &perlParser{json.NewEncoder(in), json.NewDecoder(out)}
}

type perlAnswer struct {
	Seen  [][3]any
	Words []string
}

func (p *perlParser) ask(t rapid.TB, question map[string]any) perlAnswer {
	var a perlAnswer
	if err := p.stdin.Encode(question); err != nil {
		t.Fatal(err)
	}
	if err := p.stdout.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (g getopt) config() []string {
	c := []string{map[bool]string{true: "bundling", false: "no_bundling"}[g.bundling]}
	return append(c, map[bool]string{true: "auto_abbrev", false: "no_auto_abbrev"}[g.abbrev], map[bool]string{true: "ignore_case", false: "no_ignore_case"}[g.foldCase])
}

// An argument as somebody may write it: names whole and cut, in another case, several letters in one, values glued on.
func argument(g getopt) *rapid.Generator[string] {
	var names []string
	for name := range g.table() {
		names = append(names, name)
	}
	slices.Sort(names)
	return rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom(names).Draw(t, "name")
		name = name[:rapid.IntRange(1, len(name)).Draw(t, "cut")]
		if rapid.IntRange(0, 5).Draw(t, "case") == 0 {
			name = strings.ToUpper(name)
		}
		value := rapid.SampledFrom([]string{"", "", "", "=", "=5", "=http://a.example", "x", "5", "5v", "http://a.example", "-"}).Draw(t, "value")
		switch rapid.IntRange(0, 7).Draw(t, "form") {
		case 0, 1, 2:
			return "--" + name + value
		case 3:
			return "-" + name + value
		case 4:
			letters := rapid.SliceOfN(rapid.SampledFrom([]string{"n", "v", "q", "f", "M", "L", "l", "w", "S", "r", "g", "Z", "-", "h"}), 1, 4).Draw(t, "letters")
			return "-" + strings.Join(letters, "") + value
		case 5:
			return "+" + name + value
		case 6:
			return rapid.SampledFrom([]string{"--", "-", "+", "", "--=x", "-=", "=="}).Draw(t, "odd")
		}
		return rapid.SampledFrom([]string{"Foo", "Foo::Bar", "http://a.example", "5", "."}).Draw(t, "word")
	})
}

// Command lines are read as the clients read them: compared with the module that does it.
func TestParseAsTheClientsDo(t *testing.T) {
	perl := startPerl(t)
	one := map[string]string{"cpanm": "--verbose", "cpm": "--verbose", "carton": "--verbose", "minicpan": "--force"}
	for name, g := range map[string]getopt{"cpanm": cpanmOptions, "cpm": cpmOptions, "carton": cartonOptions, "minicpan": minicpanOptions} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			args := rapid.SliceOfN(argument(g), 0, 6).Draw(t, "args")
			want := perl.ask(t, map[string]any{"specs": g.specs, "config": g.config(), "args": append([]string{}, args...)})
			got := g.parse(args)
			seen := []string{}
			for _, o := range got.options {
				value := o.value
				if value == "" && !o.no && !strings.Contains(g.specs[o.spec], "=") {
					value = "1"
				}
				if o.no {
					value = "0"
				}
				if strings.HasSuffix(g.specs[o.spec], "=i") {
					value = strings.TrimLeft(value, "0")
				}
				seen = append(seen, fmt.Sprint(o.spec, " ", value))
			}
			wantSeen := []string{}
			for _, s := range want.Seen {
				wantSeen = append(wantSeen, fmt.Sprint(s[0], " ", s[2]))
			}
			if !slices.Equal(seen, wantSeen) || !slices.Equal(got.words, want.Words) {
				t.Fatalf("%q: options %q and words %q, want %q and %q", args, seen, got.words, wantSeen, want.Words)
			}
			// What is added there is an option, and counts.
			added := slices.Concat(args[:got.end], []string{one[name]}, args[got.end:])
			if p := g.parse(added); len(p.options) != len(got.options)+1 {
				t.Fatalf("%q: with %s added: %+v", added, one[name], p)
			}
		}))
	}
}

func TestParseLettersAsCPANDoes(t *testing.T) {
	perl := startPerl(t)
	rapid.Check(t, func(t *rapid.T) {
		args := rapid.SliceOfN(rapid.SampledFrom([]string{"-T", "-i", "-fi", "-M", "-Mx", "-TMhttp://a.example", "-fj", "-j", "x.pm", "Foo", "--", "-", "-P", "-TP", "-iMj"}), 0, 5).Draw(t, "args")
		want := perl.ask(t, map[string]any{"letters": "hvVIgGM:CADOlLarPpj:JwxXcfimstTu", "args": append([]string{}, args...)})
		got := parseLetters(args, "Mj")
		last := map[string]string{}
		for _, o := range got.options {
			last[o.name] = o.name + o.value
			if !strings.Contains("Mj", o.name) {
				last[o.name] = o.name + "1"
			}
		}
		for _, s := range want.Seen {
			text := s[2].(string)
			if text == "M" || text == "j" {
				continue // its value is missing
			}
			if last[text[:1]] != text {
				t.Fatalf("%q: %q, want %q", args, last, want.Seen)
			}
		}
		if !slices.Equal(got.words, want.Words) {
			t.Fatalf("%q: words %q, want %q", args, got.words, want.Words)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"--from\nhttp://a.example\nFoo", "-nMhttp://a.example", "--\n-", "+from\nx", "-w4v\n--mirror="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var args []string
		for word := range bytes.SplitSeq(b, []byte("\n")) {
			args = append(args, string(word))
		}
		for _, client := range clients {
			p := parseArgs(client, args)
			if p.end < 0 || p.end > len(args) {
				t.Errorf("%s %q: options end at %d", client, args, p.end)
			}
			if got := withFlags(client, args, p, Request{Mirror: mirrorURL}); len(got) < len(args) {
				t.Errorf("%s %q: %q", client, args, got)
			}
		}
	})
}
