package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// A Kind says what a vector is about.
type Kind string

const (
	// Verify is a whole request; the expected word is an outcome.
	Verify Kind = "verify"
	// Distribution is a Verify of an archive that can be installed. Its Makefile.PL, if it ever
	// runs, writes a file "configured" beside it.
	Distribution Kind = "distribution"
	// Policy is a policy's text alone: valid or invalid.
	Policy Kind = "policy"
	// Note is a signed checkpoint opened under a policy: ok, quorum, malformed, extension,
	// unknown-log, bad-signature, or, in Perl, unknown.
	Note Kind = "note"
	// Inclusion is a proof and a tree: valid or invalid.
	Inclusion Kind = "inclusion"
	// Signature is an Ed25519 key, message and signature: valid or invalid. A key that is not
	// one to use makes every signature invalid.
	Signature Kind = "ed25519"
	// Tree is a request about a file, with a static proof tree as the source of proofs; Known[0] is what is
	// remembered.
	Tree Kind = "tree"
	// Pack is a request with a pack of proofs: an outcome, or malformed or version.
	Pack Kind = "pack"
)

// A Vector is a question and its answer. What a kind does not need is left out.
type Vector struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`

	// The answers of log/verify and of the Perl verifier. They differ only where ML-DSA
	// signatures decide, which the latter passes over.
	Go   string `json:"go"`
	Perl string `json:"perl"`
	// Failed is the first check of a Verify that failed, and Message its sentence: the same
	// from both if the outcome is.
	Failed  string `json:"failed,omitempty"`
	Message string `json:"message,omitempty"`

	// Policy is a text, or, if it stands in the file's first line, "@" and its name there.
	Policy Bytes `json:"policy,omitempty"`
	Note   Bytes `json:"note,omitempty"`

	Path        string  `json:"path,omitempty"`
	AnyPath     bool    `json:"any_path,omitempty"`
	File        Bytes   `json:"file,omitempty"`
	Bundle      Bytes   `json:"bundle"` // null: there is none
	Absence     string  `json:"absence,omitempty"`
	Revocation  Bytes   `json:"revocation,omitempty"`
	Deletion    Bytes   `json:"deletion,omitempty"`
	Known       []Bytes `json:"known,omitempty"`
	Now         *int64  `json:"now,omitempty"`           // seconds since 1970
	MaxAge      int64   `json:"max_age,omitempty"`       // seconds
	MaxIndexAge int64   `json:"max_index_age,omitempty"` // seconds

	// Of an Inclusion, with Bundle's entry, index and hashes. Sizes are strings: they may be
	// larger than a reader's numbers.
	Size string `json:"size,omitempty"`
	Root []byte `json:"root,omitempty"`

	// Of a Tree: its name in the file's second line, the files that are otherwise there (null: not there),
	// and whether its word counts that a path is not listed.
	Files  string    `json:"files,omitempty"`
	Change proofTree `json:"change,omitempty"`
	Said   bool      `json:"said,omitempty"`
	files  proofTree

	Pack Bytes `json:"pack,omitempty"`

	// In base64, as Root is.
	Public    []byte `json:"public,omitempty"`
	Signed    []byte `json:"signed,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// An answer is what Go says to a vector.
type answer struct {
	word, failed, message string
	evidence, remembered  []byte
}

// ask asks Go.
func (v *Vector) ask() (answer, error) {
	switch v.Kind {
	case Verify, Distribution:
		return v.verify()
	case Policy:
		_, err := checkpoint.ParsePolicy(v.Policy)
		return valid(err == nil), nil
	case Note:
		return v.open()
	case Inclusion:
		b, err := proof.Parse(v.Bundle)
		if err != nil {
			return answer{}, err
		}
		var size uint64
		if _, err := fmt.Sscan(v.Size, &size); err != nil {
			return answer{}, err
		}
		return valid(b.Verify(size, tree.Hash(v.Root)) == nil), nil
	case Tree:
		return v.askTree()
	case Pack:
		return v.askPack()
	case Signature:
		// As a policy's witness would be: the key is looked at first.
		_, err := checkpoint.NewVerifierKey(checkpoint.CosignatureV1, "w.example", v.Public)
		return valid(err == nil && len(v.Signature) == ed25519.SignatureSize && ed25519.Verify(v.Public, v.Signed, v.Signature)), nil
	}
	return answer{}, fmt.Errorf("unknown kind %q", v.Kind)
}

func valid(ok bool) answer {
	if ok {
		return answer{word: "valid"}
	}
	return answer{word: "invalid"}
}

func (v *Vector) verify() (answer, error) {
	policy, err := checkpoint.ParsePolicy(v.Policy)
	if err != nil {
		return answer{}, err
	}
	r := verify.Request{
		Policy: policy, Path: v.Path, AnyPath: v.AnyPath, SHA256: sha256.Sum256(v.File), Size: uint64(len(v.File)),
		Bundle: v.Bundle, Revocation: v.Revocation, Deletion: v.Deletion, Known: v.known(),
		MaxAge: time.Duration(v.MaxAge) * time.Second, MaxIndexAge: time.Duration(v.MaxIndexAge) * time.Second,
	}
	if v.Now != nil {
		r.Now = time.Unix(*v.Now, 0)
	}
	switch v.Absence {
	case "":
	case "not-logged":
		r.Absence = verify.SaidNotLogged
	case "pending":
		r.Absence = verify.SaidPending
	default:
		return answer{}, fmt.Errorf("unknown absence %q", v.Absence)
	}
	return answerOf(verify.Verify(r)), nil
}

func answerOf(r *verify.Result) answer {
	a := answer{word: r.Outcome.String(), message: r.Message}
	for _, c := range r.Checks {
		if !c.OK {
			a.failed = c.Name
			break
		}
	}
	if r.Evidence != nil {
		a.evidence = r.Evidence.Marshal()
	}
	return a
}

func (v *Vector) known() (notes [][]byte) {
	for _, n := range v.Known {
		notes = append(notes, n)
	}
	return notes
}

func (v *Vector) open() (answer, error) {
	policy, err := checkpoint.ParsePolicy(v.Policy)
	if err != nil {
		return answer{}, err
	}
	_, err = policy.Open(v.Note)
	for word, sentinel := range map[string]error{
		"quorum": checkpoint.ErrQuorum, "malformed": checkpoint.ErrMalformed, "extension": checkpoint.ErrExtension,
		"unknown-log": checkpoint.ErrUnknownLog, "bad-signature": checkpoint.ErrBadSignature,
	} {
		if errors.Is(err, sentinel) {
			return answer{word: word}, nil
		}
	}
	if err != nil {
		return answer{}, err
	}
	return answer{word: "ok"}, nil
}

// Bytes are a string in JSON if they are UTF-8, so that people can read them, and otherwise
// {"base64": "..."}.
type Bytes []byte

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}
