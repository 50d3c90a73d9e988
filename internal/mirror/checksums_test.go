package mirror

import (
	"errors"
	"strings"
	"testing"
)

const plainChecksums = `# CHECKSUMS file written on Sun Nov 22 10:37:54 2026 GMT by CPAN::Checksums (v2.14)
$cksum = {
  'Foo-1.0.meta' => {
    'mtime' => '2026-11-22',
    'size' => 239
  },
  'Foo-1.0.tar.gz' => {
    'cpan_path' => 'E/ET/ETHER',
    'md5' => '490b8b6f84b3dd563d507dbbf52eff14',
    'sha256' => '4080716c5da7e03b504e3cc0ea1fd5ef9ed6915f6fb737564e9e13d355a89e39',
    'size' => 16039
  }
};
`

const signedChecksums = `0&&<<''; # this PGP-signed message is also valid perl
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

` + plainChecksums + `__END__
-----BEGIN PGP SIGNATURE-----

iQEzBAEBCAAdFiEE
=abcd
-----END PGP SIGNATURE-----
`

func TestParseChecksums(t *testing.T) {
	for name, text := range map[string]string{"plain": plainChecksums, "signed": signedChecksums} {
		files, err := parseChecksums([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		foo := files["Foo-1.0.tar.gz"]
		if len(files) != 2 || foo.cpanPath != "E/ET/ETHER" || foo.sha256.String() != "4080716c5da7e03b504e3cc0ea1fd5ef9ed6915f6fb737564e9e13d355a89e39" || files["Foo-1.0.meta"].hasSHA {
			t.Errorf("%s: %+v", name, files)
		}
	}
	if files, err := parseChecksums([]byte("$cksum = {\n};\n")); err != nil || len(files) != 0 {
		t.Errorf("an empty folder's: %v, %v", files, err)
	}
}

func TestChecksumsThatAreCode(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(signedChecksums, old) {
			t.Fatalf("there is no %q", old)
		}
		return strings.Replace(signedChecksums, old, new, 1)
	}
	for name, text := range map[string]string{
		"empty":                    "",
		"code behind":              plainChecksums + "system 'id';\n",
		"code before":              "system 'id';\n" + plainChecksums,
		"code in a value":          change("'2026-11-22'", "`id`"),
		"interpolation":            change("'2026-11-22'", `"@{[system 'id']}"`),
		"an escape":                change("'2026-11-22'", `'\'.system("id").\''`),
		"two values":               change("'2026-11-22'", "'a'.system('id')"),
		"code in a name":           change("'Foo-1.0.meta'", "system('id')"),
		"a pair behind":            change("'size' => 239\n", "'size' => 239, 'x' => system('id')\n"),
		"code behind the brace":    change("  },\n", "  }, system('id'),\n"),
		"another variable":         change("$cksum", "$x"),
		"a comment with a return":  change("# CHECKSUMS", "# \rsystem 'id';"),
		"no end before the sig":    change("__END__\n", ""),
		"code after the here-doc":  change("Hash: SHA256\n\n", "Hash: SHA256\n\nsystem 'id';\n"),
		"two empty lines":          change("Hash: SHA256\n\n", "\nsystem 'id';\n\n"),
		"a header that is none":    change("Hash: SHA256", "Hash: SHA256;system"),
		"a name twice":             change("Foo-1.0.meta", "Foo-1.0.tar.gz"),
		"a key twice":              change("'md5'", "'sha256'"),
		"no digest":                change("4080716c", "4080716C"),
		"a digest that is a size":  change("'4080716c5da7e03b504e3cc0ea1fd5ef9ed6915f6fb737564e9e13d355a89e39'", "12"),
		"a missing comma":          change("'size' => 239\n  },", "'size' => 239\n  }"),
		"something behind the sig": signedChecksums + "\n",
		"text in the sig":          change("=abcd", "=abcd; code"),
		"no last line end":         strings.TrimSuffix(plainChecksums, "\n"),
		"not text":                 change("'2026-11-22'", "'2026\x00'"),
		"a UTF-8 name":             change("Foo-1.0.meta", "Fo\u00f6.meta"),
	} {
		if files, err := parseChecksums([]byte(text)); !errors.Is(err, errChecksums) {
			t.Errorf("%s: accepted, %v", name, files)
		}
	}
}

func FuzzParseChecksums(f *testing.F) {
	f.Add([]byte(plainChecksums))
	f.Add([]byte(signedChecksums))
	f.Add([]byte("$cksum = {\n};\n__END__\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parseChecksums(b)
		if err != nil {
			return
		}
		// Nothing that Perl would do more with than read literals: outside of quotes and comments, no letter that
		// is not of the frame.
		text, _, _ := strings.Cut(string(b), "__END__")
		text = strings.TrimPrefix(text, perlClear+"\n"+beginClear+"\n")
		for line := range strings.Lines(text) {
			if line[0] == '#' || hashLine.MatchString(strings.TrimSuffix(line, "\n")) || line == "$cksum = {\n" {
				continue
			}
			quoted := strings.Split(line, "'")
			for i := 0; i < len(quoted); i += 2 {
				if strings.ContainsAny(quoted[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ`\"$@&(;") && line != "};\n" {
					t.Fatalf("accepted the line %q", line)
				}
			}
		}
		if len(files) > maxChecksumsEntries {
			t.Fatal("too many files")
		}
	})
}
