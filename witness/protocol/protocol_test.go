package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// The project's golden vectors: the tree of RFC 6962's test data at size 8.
const goldenNote = "log.example/pause\n" +
	"8\n" +
	"XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n" +
	"\n" +
	"— log.example/pause E4ML+w735cVr/gE+CegSY4yMIvBKxxRkxMfu91Bnzm/zr/l3vZD2BLENdYX+qKLiCgvFokfmSRhYFMO2YG0mdKMJvAI=\n"

const hashText = "Iu08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1Kjg="

func hash(s string) tree.Hash {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return tree.Hash(b)
}

func goldenAddCheckpoint() *AddCheckpoint {
	return &AddCheckpoint{
		Old: 3,
		Proof: []tree.Hash{
			hash("0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7"),
			hash("07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7"),
			hash("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
			hash("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
		},
		Note: []byte(goldenNote),
	}
}

func goldenSignSubtree() *SignSubtree {
	return &SignSubtree{
		Start: 4, End: 7,
		Hash: hash("837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e"),
		Proof: []tree.Hash{
			hash("b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"),
			hash("46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1"),
			hash("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
			hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
		},
		Note: []byte(goldenNote),
	}
}

func TestVectorAddCheckpoint(t *testing.T) {
	want := goldenAddCheckpoint()
	b := want.Marshal()
	if len(b) != 368 || fmt.Sprintf("%x", sha256.Sum256(b)) != "82fdd15f1045c7da72b7342904107a08c1fbcd41502d56a1ec20edb2854bb375" {
		t.Errorf("body of %d bytes, sha256 %x:\n%s", len(b), sha256.Sum256(b), b)
	}
	got, err := ParseAddCheckpoint(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseAddCheckpoint = %+v, %v; want %+v", got, err, want)
	}
	roots := [2]tree.Hash{
		hash("aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
		hash("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
	}
	if err := tree.VerifyConsistency(3, 8, got.Proof, roots[0], roots[1]); err != nil {
		t.Error(err)
	}
}

func TestSignSubtreeBody(t *testing.T) {
	r := goldenSignSubtree()
	want := "subtree 4 7\n" +
		"g327FS6bB5AQcX6E6GXaTrwPoZioBtWdMb8VrM7yLQ4=\n" +
		"sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8=\n" +
		"Rvb/rdPQagn/PFhg0nVci5gZ2330QlF4jH2OMYDejrE=\n" +
		"DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=\n" +
		"037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=\n" +
		"\n" + goldenNote
	if got := string(r.Marshal()); got != want {
		t.Errorf("Marshal = %s, want %s", got, want)
	}
	got, err := ParseSignSubtree([]byte(want))
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("ParseSignSubtree = %+v, %v; want %+v", got, err, r)
	}
}

func TestParseAddCheckpointAccepts(t *testing.T) {
	hashes := strings.Repeat(hashText+"\n", MaxProof)
	for _, tt := range []struct {
		name, body string
		old        uint64
		proof      int
		note       string
	}{
		{"no proof", "old 0\n\n" + goldenNote, 0, 0, goldenNote},
		// The witness answers it with 422: its form is good.
		{"proof with old 0", "old 0\n" + hashText + "\n\nnote", 0, 1, "note"},
		{"63 hashes", "old 9223372036854775807\n" + hashes + "\nnote", 1<<63 - 1, 63, "note"},
		// What follows the first blank line is the note, whatever it is.
		{"blank lines in the note", "old 5\n\na\n\nb\n\n— c", 5, 0, "a\n\nb\n\n— c"},
		{"note that starts with a newline", "old 5\n\n\nnote", 5, 0, "\nnote"},
		{"note of other bytes", "old 5\n\n\x00\xff\r\n", 5, 0, "\x00\xff\r\n"},
		{"largest note", "old 5\n\n" + strings.Repeat("n", checkpoint.MaxNoteSize), 5, 0, strings.Repeat("n", checkpoint.MaxNoteSize)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseAddCheckpoint([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if r.Old != tt.old || len(r.Proof) != tt.proof || string(r.Note) != tt.note {
				t.Errorf("old %d, %d hashes, note %.50q", r.Old, len(r.Proof), r.Note)
			}
			if got := string(r.Marshal()); got != tt.body {
				t.Errorf("Marshal = %.100q, want %.100q", got, tt.body)
			}
		})
	}
}

// badNumbers are sizes and indices in other than their one form.
var badNumbers = map[string]string{
	"leading zero": "05", "zeros": "00", "plus": "+5", "minus": "-5", "hexadecimal": "0x5", "underscore": "1_0", "exponent": "1e3",
	"space before": " 5", "space after": "5 ", "tab after": "5\t", "CR": "5\r", "NUL": "5\x00", "point": "5.0", "empty": "",
	"2^63": "9223372036854775808", "2^64": "18446744073709551616", "very long": strings.Repeat("9", 500), "other digits": "٥",
}

// badHashes are hash lines in other than their one form.
var badHashes = map[string]string{
	"not base64":        "not base64 at all",
	"pad bits not zero": "Iu08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1Kjh=",
	"no padding":        strings.TrimSuffix(hashText, "="),
	"two paddings":      hashText + "=",
	"URL alphabet":      "_-08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1Kjg=",
	"31 bytes":          "Iu08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1Kg==",
	"33 bytes":          "Iu08wWceprUSFI2H31Iorbup5qTFUc5rNvCzycG1KjgA",
	"CR at its end":     hashText + "\r",
	"CR within":         hashText[:10] + "\r" + hashText[10:],
	"space before":      " " + hashText,
	"space after":       hashText + " ",
	"two on a line":     hashText + " " + hashText,
	"a signature line":  "— witness.example/w1 3xwKNQ==",
}

func refused(t *testing.T, name, body string, err error) {
	t.Helper()
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: %.80q: %v, want ErrMalformed", name, body, err)
	} else if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\n\r\x00") {
		t.Errorf("%s: error of %d bytes: %q", name, len(err.Error()), err)
	}
}

func TestParseAddCheckpointRefuses(t *testing.T) {
	bodies := map[string]string{
		"nothing":                 "",
		"a newline":               "\n",
		"two newlines":            "\n\n",
		"only a note":             goldenNote,
		"blank line first":        "\n\n" + goldenNote,
		"only the head":           "old 5\n",
		"no blank line":           "old 5\nlog.example/pause\n8\n",
		"one newline missing":     "old 5\n" + hashText + "\nlog.example/pause",
		"CR LF":                   "old 5\r\n\r\n" + goldenNote,
		"CR LF in the head alone": "old 5\r\n\n" + goldenNote,
		"no note":                 "old 5\n\n",
		"capital":                 "Old 5\n\n" + goldenNote,
		"no space":                "old5\n\n" + goldenNote,
		"tab":                     "old\t5\n\n" + goldenNote,
		"byte order mark":         "\ufeffold 5\n\n" + goldenNote,
		"space first":             " old 5\n\n" + goldenNote,
		"two numbers":             "old 5 8\n\n" + goldenNote,
		"two old lines":           "old 5\nold 5\n\n" + goldenNote,
		"old after the proof":     hashText + "\nold 5\n\n" + goldenNote,
		"the other request":       string(goldenSignSubtree().Marshal()),
		"64 hashes":               "old 5\n" + strings.Repeat(hashText+"\n", 64) + "\n" + goldenNote,
		"many short lines":        "old 5\n" + strings.Repeat("a\n", 60_000) + "\n" + goldenNote,
		"note too large":          "old 5\n\n" + strings.Repeat("n", checkpoint.MaxNoteSize+1),
		"body too large":          "old 5\n\n" + strings.Repeat("n", MaxBody),
	}
	for name, s := range badNumbers {
		bodies["old: "+name] = "old " + s + "\n\n" + goldenNote
	}
	for name, s := range badHashes {
		bodies["only hash: "+name] = "old 5\n" + s + "\n\n" + goldenNote
		bodies["last hash: "+name] = "old 5\n" + hashText + "\n" + s + "\n\n" + goldenNote
	}
	for name, body := range bodies {
		_, err := ParseAddCheckpoint([]byte(body))
		refused(t, name, body, err)
	}
}

func TestParseSignSubtreeAccepts(t *testing.T) {
	hashes := strings.Repeat(hashText+"\n", 1+MaxProof)
	for name, body := range map[string]string{
		"no proof":         "subtree 0 8\n" + hashText + "\n\nnote",
		"63 hashes":        "subtree 4 8\n" + hashes + "\nnote",
		"the longest head": "subtree 9223372036854775806 9223372036854775807\n" + hashes + "\n" + strings.Repeat("n", checkpoint.MaxNoteSize),
	} {
		r, err := ParseSignSubtree([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := string(r.Marshal()); got != body {
			t.Errorf("%s: Marshal = %.100q, want %.100q", name, got, body)
		}
	}
}

func TestParseSignSubtreeRefuses(t *testing.T) {
	tail := "\n" + hashText + "\n\n" + goldenNote
	bodies := map[string]string{
		"nothing":           "",
		"only a note":       goldenNote,
		"no blank line":     "subtree 4 7\n" + hashText + "\n",
		"no note":           "subtree 4 7\n" + hashText + "\n\n",
		"no hash":           "subtree 4 7\n\n" + goldenNote,
		"no end":            "subtree 4" + tail,
		"three numbers":     "subtree 4 7 8" + tail,
		"two spaces":        "subtree 4  7" + tail,
		"capital":           "Subtree 4 7" + tail,
		"CR LF":             "subtree 4 7\r" + tail,
		"empty":             "subtree 4 4" + tail,
		"empty tree":        "subtree 0 0" + tail,
		"backwards":         "subtree 7 4" + tail,
		"not aligned":       "subtree 2 5" + tail,
		"the other request": string(goldenAddCheckpoint().Marshal()),
		"64 hashes":         "subtree 4 7\n" + strings.Repeat(hashText+"\n", 65) + "\n" + goldenNote,
		"many short lines":  "subtree 4 7\n" + strings.Repeat("a\n", 60_000) + "\n" + goldenNote,
		"note too large":    "subtree 4 7\n" + hashText + "\n\n" + strings.Repeat("n", checkpoint.MaxNoteSize+1),
		// What a draft of the specification had between the hash and the proof.
		"signature lines in the head": "subtree 4 7\n" + hashText + "\n— witness.example/w1 3xwKNQ==\n\n" + goldenNote,
	}
	for name, s := range badNumbers {
		bodies["start: "+name] = "subtree " + s + " 7" + tail
		bodies["end: "+name] = "subtree 4 " + s + tail
	}
	for name, s := range badHashes {
		bodies["hash: "+name] = "subtree 4 7\n" + s + "\n\n" + goldenNote
		bodies["proof: "+name] = "subtree 4 7\n" + hashText + "\n" + s + "\n\n" + goldenNote
	}
	for name, body := range bodies {
		_, err := ParseSignSubtree([]byte(body))
		refused(t, name, body, err)
	}
}

func TestParsedRequestsShareNoMemory(t *testing.T) {
	b := goldenAddCheckpoint().Marshal()
	r, err := ParseAddCheckpoint(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(r.Note) != goldenNote {
		t.Errorf("the note changed with the body: %q", r.Note)
	}
}

// Every request that the limits of a proof and of a note allow is within MaxBody.
func TestMaxBodyIsTheLargestRequest(t *testing.T) {
	note := bytes.Repeat([]byte{'n'}, checkpoint.MaxNoteSize)
	proof := make([]tree.Hash, MaxProof)
	largest := (&SignSubtree{Start: tree.MaxSize - 1, End: tree.MaxSize, Proof: proof, Note: note}).Marshal()
	if len(largest) != MaxBody {
		t.Errorf("the largest SignSubtree has %d bytes, MaxBody is %d", len(largest), MaxBody)
	}
	if b := (&AddCheckpoint{Old: tree.MaxSize, Proof: proof, Note: note}).Marshal(); len(b) > MaxBody {
		t.Errorf("the largest AddCheckpoint has %d bytes, MaxBody is %d", len(b), MaxBody)
	}
}

func TestSize(t *testing.T) {
	for want, text := range map[uint64]string{0: "0\n", 8: "8\n", 12345: "12345\n", 1<<63 - 1: "9223372036854775807\n"} {
		if got := string(FormatSize(want)); got != text {
			t.Errorf("FormatSize(%d) = %q, want %q", want, got, text)
		}
		if got, err := ParseSize([]byte(text)); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	bodies := map[string]string{"no newline": "8", "two newlines": "8\n\n", "newline first": "\n8\n", "two lines": "8\n9\n", "newline": "\n", "nothing": ""}
	for name, s := range badNumbers {
		bodies[name] = s + "\n"
	}
	for name, body := range bodies {
		_, err := ParseSize([]byte(body))
		refused(t, name, body, err)
	}
}

func TestSubtreeSignature(t *testing.T) {
	for _, n := range []int{1, 64, 2420, MaxSubtreeSignature} {
		sig := bytes.Repeat([]byte{0xa5}, n)
		got, err := ParseSubtreeSignature(FormatSubtreeSignature(sig))
		if err != nil || !bytes.Equal(got, sig) {
			t.Errorf("of %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	for name, body := range map[string]string{
		"nothing":           "",
		"a newline":         "\n",
		"no newline":        "AQID",
		"two newlines":      "AQID\n\n",
		"two lines":         "AQID\nAQID\n",
		"CR LF":             "AQID\r\n",
		"CR within":         "AQ\rID\n",
		"newline within":    "AQ\nID\n",
		"pad bits not zero": "AR==\n",
		"no padding":        "AQ\n",
		"a signature line":  "— witness.example/w1 3xwKNQAAAAAAAAAAAQID\n",
		"too long":          string(FormatSubtreeSignature(make([]byte, MaxSubtreeSignature+1))),
	} {
		_, err := ParseSubtreeSignature([]byte(body))
		refused(t, name, body, err)
	}
}

func TestVectorOriginHash(t *testing.T) {
	for origin, want := range map[string]string{
		"log.example/pause":           "3af5d5cc1da6da5787550f69c4eacb33ca891c0a6a73bb50c09bf0f4499deeb6",
		"example.com/behind-the-sofa": "5fd2dc0beb4ce54da5050cf6d5c75248b023abad441c3cecde3976fbe9da4fe4",
	} {
		if got := OriginHash(origin); got != want {
			t.Errorf("OriginHash(%q) = %s, want %s", origin, got, want)
		}
		if got := CheckpointPath(origin); got != want+"/checkpoint" {
			t.Errorf("CheckpointPath(%q) = %s", origin, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	longest := strings.Repeat("o", checkpoint.MaxOrigin)
	for _, tt := range []struct{ name, note, want string }{
		{"note", goldenNote, "log.example/pause"},
		{"broken after the first line", "log.example/pause\n\x00", "log.example/pause"},
		{"nothing", "", ""},
		{"empty first line", "\nlog.example/pause\n", ""},
		{"no newline", "log.example/pause", ""},
		{"longest", longest + "\n8\n", longest},
		{"too long", longest + "o\n8\n", ""},
		{"much too long", strings.Repeat("o", 100_000), ""},
		{"CR stays", "log.example/pause\r\n8\r\n", "log.example/pause\r"},
	} {
		if got := Origin([]byte(tt.note)); got != tt.want {
			t.Errorf("%s: Origin = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzParseAddCheckpoint(f *testing.F) {
	f.Add(goldenAddCheckpoint().Marshal())
	f.Add([]byte("old 0\n\n" + goldenNote))
	f.Add([]byte("old 05\n" + hashText + "\n\n\n"))
	f.Add([]byte("old 5\r\n\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseAddCheckpoint(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("Marshal = %q, want %q", got, b)
		}
		if len(r.Proof) > MaxProof || r.Old > tree.MaxSize || !bytes.HasSuffix(b, append([]byte("\n\n"), r.Note...)) {
			t.Fatalf("accepted %q", b)
		}
	})
}

func FuzzParseSignSubtree(f *testing.F) {
	f.Add(goldenSignSubtree().Marshal())
	f.Add([]byte("subtree 0 8\n" + hashText + "\n\n" + goldenNote))
	f.Add([]byte("subtree 2 5\n" + hashText + "\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseSignSubtree(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("Marshal = %q, want %q", got, b)
		}
		if len(r.Proof) > MaxProof || !tree.ValidSubtree(r.Start, r.End) || r.End > tree.MaxSize {
			t.Fatalf("accepted %q", b)
		}
	})
}

// Both answers of a line: what is accepted is written again to the same bytes.
func FuzzParseAnswers(f *testing.F) {
	for _, s := range []string{"8\n", "0\n", "08\n", "9223372036854775807\n", "AQID\n", "AQ==\n", "AR==\n", "8\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := ParseSize(b); err == nil {
			if got := FormatSize(n); !bytes.Equal(got, b) {
				t.Fatalf("FormatSize = %q, want %q", got, b)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v is not ErrMalformed", err)
		}
		if s, err := ParseSubtreeSignature(b); err == nil {
			if got := FormatSubtreeSignature(s); !bytes.Equal(got, b) {
				t.Fatalf("FormatSubtreeSignature = %q, want %q", got, b)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v is not ErrMalformed", err)
		}
	})
}
