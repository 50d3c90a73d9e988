package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strings"

	"filippo.io/mldsa"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

func signRaw(k key, text string) []byte { return ed25519.Sign(k.raw, []byte(text)) }

// inclusions is all proofs of small trees, and some of trees whose sizes do not fit into the
// numbers of every reader.
func (g *generator) inclusions() {
	var leaves [][]byte
	for i := range 20 {
		leaves = append(leaves, fmt.Appendf(nil, "leaf %d", i))
	}
	l := newLog(leaves...)
	add := func(name, word string, entry []byte, index, size uint64, hashes []tree.Hash, root tree.Hash) {
		g.add(name, word, Vector{Kind: Inclusion, Bundle: bundleText(entry, fmt.Sprint(index), hashes, "x\n"), Size: fmt.Sprint(size), Root: root[:]})
	}
	for _, size := range []int{1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 20} {
		for index := range size {
			name := fmt.Sprintf("entry %d of %d", index, size)
			hashes, root := l.hashesOf(index, size), l.root(size)
			add(name, "valid", leaves[index], uint64(index), uint64(size), hashes, root)
			if size == 13 {
				add(name+", as the next one", "invalid", leaves[index], uint64(index+1), uint64(size), hashes, root)
				add(name+", one hash more", "invalid", leaves[index], uint64(index), uint64(size), append(slices.Clone(hashes), root), root)
				add(name+", one hash less", "invalid", leaves[index], uint64(index), uint64(size), hashes[:len(hashes)-1], root)
				add(name+", another root", "invalid", leaves[index], uint64(index), uint64(size), hashes, l.root(size+1))
				add(name+", another entry", "invalid", leaves[index+1], uint64(index), uint64(size), hashes, root)
			}
		}
	}
	// Nobody knows the leaves of such trees, but a path through one can be made up.
	const most = 1<<63 - 1
	for _, c := range []struct{ index, size uint64 }{
		{0, most}, {most - 1, most}, {1 << 62, most}, {1<<62 - 1, most}, {1<<53 + 1, 1<<53 + 2}, {1 << 53, 1<<53 + 1}, {1<<32 - 1, 1 << 32},
		{1 << 32, 1<<32 + 1}, {1<<31 - 1, 1 << 31}, {123456789012345678, 987654321098765432}, {999999999999999, 1000000000000000}, {1<<62 - 1, 1 << 62},
	} {
		inner := bits.Len64(c.index ^ (c.size - 1))
		count := inner + bits.OnesCount64(c.index>>inner)
		if count > 63 {
			continue
		}
		leaf := []byte("far away")
		root := tree.LeafHash(leaf)
		var hashes []tree.Hash
		for i := range count {
			h := sha256.Sum256(fmt.Appendf(nil, "%d", i))
			hashes = append(hashes, h)
			if i >= inner || c.index>>i&1 == 1 {
				root = tree.NodeHash(h, root)
			} else {
				root = tree.NodeHash(root, h)
			}
		}
		name := fmt.Sprintf("entry %d of %d", c.index, c.size)
		add(name, "valid", leaf, c.index, c.size, hashes, root)
		add(name+", another size", "invalid", leaf, c.index, c.size/2, hashes, root)
		add(name+", a hash less", "invalid", leaf, c.index, c.size, hashes[1:], root)
	}
}

// signatures is Ed25519: RFC 8032, and what only looks like it.
func (g *generator) signatures() {
	add := func(name, word string, public, message, signature []byte) {
		g.add(name, word, Vector{Kind: Signature, Public: public, Signed: message, Signature: signature})
	}
	unhex := func(s string) []byte { return must(hex.DecodeString(s)) }
	for i, seed := range []string{
		"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
	} {
		k := ed25519.NewKeyFromSeed(unhex(seed))
		message := [][]byte{{}, {0x72}, {0xaf, 0x82}, unhex("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f")}[i]
		add(fmt.Sprintf("RFC 8032, test %d", i+1), "valid", k[32:], message, ed25519.Sign(k, message))
	}
	// Of all lengths around a block of SHA-512, with keys and messages of no pattern.
	for i := range 24 {
		seed := sha256.Sum256(fmt.Appendf(nil, "key %d", i))
		k := ed25519.NewKeyFromSeed(seed[:])
		message := make([]byte, 0, 256)
		for len(message) < i*i {
			h := sha256.Sum256(message)
			message = append(message, h[:]...)
		}
		message = message[:i*i]
		s := ed25519.Sign(k, message)
		add(fmt.Sprintf("a message of %d bytes", len(message)), "valid", k[32:], message, s)
		flipped := slices.Clone(s)
		bit := int(seed[0]) * 2
		flipped[bit/8] ^= 1 << (bit % 8)
		add(fmt.Sprintf("a message of %d bytes, bit %d of the signature flipped", len(message), bit), "invalid", k[32:], message, flipped)
	}

	k := ed25519.NewKeyFromSeed(unhex(strings.Repeat("07", 32)))
	public, message := []byte(k[32:]), []byte("cosignature/v1\n")
	s := ed25519.Sign(k, message)
	le := func(n *big.Int) []byte {
		b := n.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		return b
	}
	fromLE := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	scalar := fromLE(s[32:])
	withS := func(n *big.Int) []byte { return append(slices.Clone(s[:32]), le(n)...) }
	add("S as it should be", "valid", public, message, withS(scalar))
	add("S + L", "invalid", public, message, withS(new(big.Int).Add(scalar, order)))
	add("S + 2L", "invalid", public, message, withS(new(big.Int).Add(scalar, new(big.Int).Lsh(order, 1))))
	add("S = L", "invalid", public, message, withS(order))
	add("S = L - 1", "invalid", public, message, withS(new(big.Int).Sub(order, big.NewInt(1))))
	add("S = 0", "invalid", public, message, withS(new(big.Int)))
	add("S = 2^256 - 1", "invalid", public, message, append(slices.Clone(s[:32]), slices.Repeat([]byte{0xff}, 32)...))
	add("S negated", "invalid", public, message, withS(new(big.Int).Sub(order, scalar)))
	add("all zeros", "invalid", public, message, make([]byte, 64))
	for _, n := range []int{0, 32, 63, 65} {
		add(fmt.Sprintf("a signature of %d bytes", n), "invalid", public, message, append(slices.Clone(s), 0)[:n])
	}
	negated := slices.Clone(s)
	negated[31] ^= 0x80
	add("R negated", "invalid", public, message, negated)
	wrongKey := slices.Clone(public)
	wrongKey[31] ^= 0x80
	add("the key negated", "invalid", wrongKey, message, s)
	for _, n := range []int{0, 31, 33} {
		add(fmt.Sprintf("a key of %d bytes", n), "invalid", append(slices.Clone(public), 0)[:n], message, s)
	}

	// With a key of small order, R = [S]B verifies for one message in eight at the latest.
	small := []string{
		"0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	}
	identity := append(unhex(small[1]), make([]byte, 32)...)
	for _, y := range small {
		for _, sign := range []byte{0, 0x80} {
			b := unhex(y)
			b[31] |= sign
			add(fmt.Sprintf("the key of small order %x", b), "invalid", b, message, identity)
		}
	}
	// R of small order with an honest key: only the encoding of R' counts, which is another.
	add("R is the identity", "invalid", public, message, append(unhex(small[1]), s[32:]...))
	add("R is not canonical", "invalid", public, message, append(le(new(big.Int).Add(p, big.NewInt(1))), s[32:]...))
	for i, n := range []*big.Int{p, new(big.Int).Add(p, big.NewInt(1)), new(big.Int).Add(p, big.NewInt(3)), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(1))} {
		add(fmt.Sprintf("key %d that is not canonical", i), "invalid", le(n), message, s)
	}
	for _, y := range []int64{2, 7, 8, 11, 12} {
		_, err := checkpoint.NewVerifierKey(checkpoint.CosignatureV1, "x", le(big.NewInt(y)))
		add(fmt.Sprintf("a key with y = %d, a point: %t", y, err == nil), "invalid", le(big.NewInt(y)), message, s)
	}

	// A key with a part of small order: with the cofactor this would verify, without it does not.
	mixed, r := mixedOrder(k, message)
	add("a key that is honest but for a part of small order", "invalid", mixed, message, r)
}

// mixedOrder returns the key A' = A + T with T the point (0, -1) of order 2, and a signature
// by A's scalar for A', with a message for which the challenge is odd: then [S]B = R + [h]A and not
// R + [h]A'.
func mixedOrder(k ed25519.PrivateKey, message []byte) (public, signature []byte) {
	// (x, y) + (0, -1) = (-x, -y).
	y := slices.Clone([]byte(k[32:]))
	sign := y[31] & 0x80
	y[31] &= 0x7f
	slices.Reverse(y)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	n := new(big.Int).Sub(p, new(big.Int).SetBytes(y))
	public = n.FillBytes(make([]byte, 32))
	slices.Reverse(public)
	public[31] |= sign ^ 0x80
	return public, ed25519.Sign(k, message)
}

// policies is C2SP tlog-policy, and what is almost one.
func (g *generator) policies() {
	vkey := func(k key) string { return k.Verifier().String() }
	logLine := "log " + vkey(g.log1) + "\n"
	w := func(i int) string { return fmt.Sprintf("witness w%d %s\n", i, vkey(g.w[i])) }
	all := logLine + w(0) + w(1) + w(2)
	raw := func(alg byte, name string, public []byte) string {
		b := append([]byte{alg}, public...)
		sum := sha256.Sum256(slices.Concat([]byte(name+"\n"), b))
		return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(b))
	}
	public := g.log1.Verifier().Public()
	good := vkey(g.log1)
	parts := strings.SplitN(good, "+", 3)
	pq := make([]byte, mldsa.MLDSA44PublicKeySize)
	copy(pq, slices.Repeat([]byte{7}, 32))
	noncanonical := append([]byte{0xee}, append(slices.Repeat([]byte{0xff}, 30), 0x7f)...)
	groups := all + "group g 2 w0 w1 w2\n"
	nested := all
	for i := range 200 {
		if i == 0 {
			nested += "group g0 any w0\n"
			continue
		}
		nested += fmt.Sprintf("group g%d all g%d\n", i, i-1)
	}
	for _, c := range []struct{ name, word, text string }{
		{"none", "valid", logLine + none},
		{"one witness", "valid", all + "quorum w0\n"},
		{"a group", "valid", groups + "quorum g\n"},
		{"no log", "valid", none},
		{"comments and blank lines", "valid", "# hello\n\n  # hello\n\t\n" + groups + "\n#\nquorum g\n# end\n"},
		{"blanks between and around", "valid", "  log\t\t" + good + "  https://log.example/ \n\tquorum   none\t\n"},
		{"quorum first", "invalid", "quorum g\n" + groups},
		{"quorum none first", "valid", none + logLine},
		{"group before its witness", "invalid", logLine + w(0) + "group g any w0 w1\n" + w(1) + "quorum g\n"},
		{"empty", "invalid", ""},
		{"no quorum", "invalid", all},
		{"two quorums", "invalid", all + none + none},
		{"two quorums of two kinds", "invalid", all + "quorum w0\nquorum none\n"},
		{"quorum of nothing", "invalid", all + "quorum\n"},
		{"quorum of two", "invalid", all + "quorum w0 w1\n"},
		{"quorum of an unknown name", "invalid", all + "quorum w3\n"},
		{"quorum of another case", "invalid", all + "quorum W0\n"},
		{"an unknown word", "invalid", all + "quorom none\n" + none},
		{"a word in capitals", "invalid", "LOG " + good + "\n" + none},
		{"no newline at the end", "invalid", logLine + "quorum none"},
		{"CRLF", "invalid", strings.ReplaceAll(logLine+none, "\n", "\r\n")},
		{"a form feed", "invalid", logLine + "quorum\fnone\n"},
		{"a zero byte", "invalid", logLine + "# \x00\n" + none},
		{"DEL", "invalid", logLine + "# \x7f\n" + none},
		{"a no-break space between", "invalid", "log\u00a0" + good + "\n" + none},
		{"a no-break space in a name", "valid", logLine + "witness a\u00a0b " + vkey(g.w[0]) + "\nquorum a\u00a0b\n"},
		{"bytes that are not UTF-8 in a name", "valid", logLine + "witness \xff " + vkey(g.w[0]) + "\nquorum \xff\n"},
		{"bytes that are not UTF-8 in a comment", "valid", "# \xff\n" + logLine + none},
		{"a comment behind", "invalid", logLine + "quorum none # none\n"},
		{"a comment for a URL", "valid", "log " + good + " #comment\n" + none},
		{"a comment behind a URL", "invalid", "log " + good + " https://x/ #\n" + none},
		{"a log without a key", "invalid", "log\n" + none},
		{"the same log twice", "invalid", logLine + logLine + none},
		{"two logs", "valid", logLine + "log " + raw(1, "b.example", g.w[0].Verifier().Public()) + "\n" + none},
		{"one key under two names", "invalid", logLine + "log " + raw(1, "b.example", public) + "\n" + none},
		{"a log of type 0x04", "invalid", "log " + raw(4, origin, public) + "\n" + none},
		{"a log of type 0x06", "valid", "log " + vkey(g.logPQ) + "\n" + none},
		{"a log of type 0x02", "invalid", "log " + raw(2, origin, public) + "\n" + none},
		{"a witness of type 0x01", "invalid", logLine + "witness a " + raw(1, "a", g.w[0].Verifier().Public()) + "\n" + none},
		{"a witness of type 0x06", "valid", logLine + "witness a " + vkey(g.pq[0]) + "\nquorum a\n"},
		{"a witness without a key", "invalid", logLine + "witness a\n" + none},
		{"a witness with a URL", "valid", logLine + "witness a " + vkey(g.w[0]) + " https://a.example/\nquorum a\n"},
		{"a witness with two URLs", "invalid", logLine + "witness a " + vkey(g.w[0]) + " https://a/ https://b/\nquorum a\n"},
		{"a witness twice", "invalid", all + w(0) + none},
		{"a witness's key under two names", "invalid", all + "witness x " + vkey(g.w[0]) + "\n" + none},
		{"a witness's key under two key names", "invalid", all + "witness x " + raw(4, "x.example", g.w[0].Verifier().Public()) + "\n" + none},
		{"a witness named none", "invalid", logLine + "witness none " + vkey(g.w[0]) + "\n" + none},
		{"the log's key as a witness", "valid", logLine + "witness a " + raw(4, origin, public) + "\nquorum a\n"},
		{"one ML-DSA key as log and witness", "valid", "log " + vkey(g.logPQ) + "\nwitness a " + vkey(g.logPQ) + "\nquorum a\n"},
		{"a key with the wrong id", "invalid", "log " + parts[0] + "+00000000+" + parts[2] + "\n" + none},
		{"a key with its id in capitals", "invalid", "log " + parts[0] + "+" + strings.ToUpper(parts[1]) + "+" + parts[2] + "\n" + none},
		{"a key without its id", "invalid", "log " + parts[0] + "+" + parts[2] + "\n" + none},
		{"a key without a name", "invalid", "log " + raw(1, "", public) + "\n" + none},
		{"a key with a name of 255 bytes", "valid", "log " + raw(1, strings.Repeat("x", 255), public) + "\n" + none},
		{"a key with a name of 256 bytes", "invalid", "log " + raw(1, strings.Repeat("x", 256), public) + "\n" + none},
		{"a key with a no-break space in its name", "invalid", "log " + raw(1, "a\u00a0b", public) + "\n" + none},
		{"a key with a C1 control in its name", "invalid", "log " + raw(1, "a\u0080b", public) + "\n" + none},
		{"a key with a name that is not UTF-8", "invalid", "log " + raw(1, "a\xff", public) + "\n" + none},
		{"a key with a name in Greek", "valid", "log " + raw(1, "αβγ", public) + "\n" + none},
		{"a key of 31 bytes", "invalid", "log " + raw(1, origin, public[:31]) + "\n" + none},
		{"a key of 33 bytes", "invalid", "log " + raw(1, origin, append(slices.Clone(public), 0)) + "\n" + none},
		{"a key of small order", "invalid", "log " + raw(1, origin, append([]byte{1}, make([]byte, 31)...)) + "\n" + none},
		{"a key that is not canonical", "invalid", "log " + raw(1, origin, noncanonical) + "\n" + none},
		{"a key that is no point", "invalid", "log " + raw(1, origin, append([]byte{2}, make([]byte, 31)...)) + "\n" + none},
		{"an ML-DSA key with t1 = 0", "invalid", "log " + raw(6, origin, pq) + "\n" + none},
		{"an ML-DSA key of 1,311 bytes", "invalid", "log " + raw(6, origin, g.logPQ.Verifier().Public()[1:]) + "\n" + none},
		{"a key in loose base64", "invalid", "log " + parts[0] + "+" + parts[1] + "+" + parts[2] + "=\n" + none},
		{"a private key", "invalid", "log " + g.log1.Secret() + "\n" + none},
		{"a group of nothing", "invalid", all + "group g any\n" + none},
		{"a group without a rule", "invalid", all + "group g w0\n" + none},
		{"a group of 0", "invalid", all + "group g 0 w0\n" + none},
		{"a group of 4 of 3", "invalid", all + "group g 4 w0 w1 w2\n" + none},
		{"a group of 3 of 3", "valid", all + "group g 3 w0 w1 w2\nquorum g\n"},
		{"a group of 01", "invalid", all + "group g 01 w0\n" + none},
		{"a group of +1", "invalid", all + "group g +1 w0\n" + none},
		{"a group of 1.0", "invalid", all + "group g 1.0 w0\n" + none},
		{"a group of -1", "invalid", all + "group g -1 w0\n" + none},
		{"a group of very many", "invalid", all + "group g 18446744073709551617 w0\n" + none},
		{"a group of ALL", "invalid", all + "group g ALL w0\n" + none},
		{"a group with a member twice", "invalid", all + "group g any w0 w0\n" + none},
		{"a witness in two groups", "invalid", all + "group g any w0\ngroup h any w0\n" + none},
		{"a group with itself", "invalid", all + "group g any g\n" + none},
		{"a group with none", "invalid", all + "group g any none\n" + none},
		{"a group with an unknown member", "invalid", all + "group g any w9\n" + none},
		{"a group named none", "invalid", all + "group none any w0\n" + none},
		{"a group named like a witness", "invalid", all + "group w1 any w0\n" + none},
		{"a group twice", "invalid", groups + "group g any w0\n" + none},
		{"200 groups in each other", "valid", nested + "quorum g199\n"},
	} {
		g.add(c.name, c.word, Vector{Kind: Policy, Policy: []byte(c.text)})
	}
}
