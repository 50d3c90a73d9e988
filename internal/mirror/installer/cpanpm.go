package installer

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CPAN.pm has its settings in a module, CPAN::MyConfig, which it looks for in the user's home first. Ours is
// loaded before CPAN.pm looks, and takes over the user's settings.
//
//go:embed MyConfig.pm
var myConfig string

func (p *Plan) cpanConfig(r Request) error {
	lib := filepath.Join(r.Private, "lib")
	if err := os.MkdirAll(filepath.Join(lib, "CPAN"), 0o700); err != nil {
		return err
	}
	// PERL5OPT has no quoting, and Perl's strings have: neither may hold what ends them.
	if strings.ContainsAny(r.Private+r.Mirror, " \t\n'\\") {
		return fmt.Errorf("the private folder %q has a space or a quote in its name, which PERL5OPT cannot hold: set TMPDIR to another folder", r.Private)
	}
	config := strings.NewReplacer("@MIRROR@", r.Mirror, "@PRIVATE@", filepath.Join(r.Private, "cpan")).Replace(myConfig)
	if err := os.WriteFile(filepath.Join(lib, "CPAN", "MyConfig.pm"), []byte(config), 0o600); err != nil {
		return err
	}
	// In PERL5OPT and not in PERL5LIB, which some programs replace.
	p.set("PERL5OPT", strings.TrimSpace(p.get("PERL5OPT")+" -I"+lib+" -MPauselogCPAN"))
	name := filepath.Join(lib, "CPAN", "MyConfig.pm")
	return os.WriteFile(filepath.Join(lib, "PauselogCPAN.pm"), []byte("package PauselogCPAN;\n"+
		"# Wherever the user's CPAN::MyConfig is, this one comes first.\n"+
		"require '"+name+"';\n$INC{'CPAN/MyConfig.pm'} = '"+name+"';\n1;\n"), 0o600)
}
