package entry

import "strings"

// ParseInto is Parse into an entry of the caller's. It allocates nothing unless it fails, and then leaves e as it was; Path
// and By are parts of text.
func ParseInto(e *Entry, text string) error {
	if e.scan(text) {
		return nil
	}
	slow, err := parseLines([]byte(text))
	if err != nil {
		return err
	}
	*e = *slow
	return nil
}

// scan reads an entry that is all right, in one pass, and leaves e as it was if it finds anything else: what is wrong then is for
// parseLines to say. It must accept nothing that parseLines refuses.
func (e *Entry) scan(text string) bool {
	s, ok := strings.CutPrefix(text, Version+"\nkind ")
	if !ok || len(text) > MaxSize {
		return false
	}
	n := Entry{}
	switch {
	case strings.HasPrefix(s, "upload\n"):
		n.Kind = Upload
	case strings.HasPrefix(s, "index\n"):
		n.Kind = Index
	case strings.HasPrefix(s, "delete\n"):
		n.Kind = Delete
	case strings.HasPrefix(s, "conflict\n"):
		n.Kind = Conflict
	case strings.HasPrefix(s, "void\n"):
		n.Kind = Void
	default:
		return false
	}

	// Of each line, the line feed that ends it is taken with the name of the next.
	if s, ok = strings.CutPrefix(s[len(n.Kind):], "\npath "); !ok {
		return false
	}
	end := strings.IndexByte(s, '\n')
	if end < 0 {
		return false
	}
	n.Path, s = s[:end], s[end:]
	if !isPath(n.Path) || n.Kind != Index && Author(n.Path) == "" || n.Kind == Index && !isIndexPath(n.Path) {
		return false
	}
	if s, ok = scanDigest(&n.SHA256, s, "\nsha256 "); !ok {
		return false
	}
	switch n.Kind {
	case Upload, Index:
		n.Size, s, ok = scanNumber(s, "\nsize ")
	case Void:
		n.Index, s, ok = scanNumber(s, "\nindex ")
	case Conflict:
		s, ok = scanDigest(&n.Other, s, "\nother ")
		ok = ok && n.Other != n.SHA256
	}
	if !ok {
		return false
	}
	if s, ok = strings.CutPrefix(s, "\ntime "); !ok || len(s) < len(timeLayout) {
		return false
	}
	if n.Time, ok = timeOf(s[:len(timeLayout)]); !ok {
		return false
	}
	s = s[len(timeLayout):]
	if n.Kind == Upload || n.Kind == Delete {
		if s, ok = strings.CutPrefix(s, "\nby "); !ok {
			return false
		}
		if end = strings.IndexByte(s, '\n'); end < 0 {
			return false
		}
		if n.By, s = s[:end], s[end:]; n.By != "-" && !IsPAUSEID(n.By) {
			return false
		}
		switch s {
		case "\nseen upload\n":
			n.Seen = SeenUpload
		case "\nseen follow\n":
			n.Seen = SeenFollow
		case "\nseen backfill\n":
			n.Seen = SeenBackfill
		default:
			return false
		}
		s = "\n"
	}
	if s != "\n" {
		return false
	}
	*e = n
	return true
}

// scanDigest reads a digest behind a line's name, and returns what follows it.
func scanDigest(d *Digest, s, name string) (rest string, ok bool) {
	s, ok = strings.CutPrefix(s, name)
	if !ok || len(s) < 2*len(d) || !d.decode(s[:2*len(d)]) {
		return "", false
	}
	return s[2*len(d):], true
}

// scanNumber reads a number, in the one way in which it can be written, behind a line's name, and returns what follows it.
func scanNumber(s, name string) (n uint64, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, name)
	if !ok {
		return 0, "", false
	}
	digits := 0
	for ; digits < len(s) && digits <= maxDigits && s[digits]-'0' <= 9; digits++ {
		n = n*10 + uint64(s[digits]-'0')
	}
	if digits == 0 || digits > maxDigits || s[0] == '0' && digits > 1 {
		return 0, "", false
	}
	return n, s[digits:], true
}
