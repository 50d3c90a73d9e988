package store

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/entry"
)

// rows are a table in which each row has one place, where it displaces what was there. Places are made, some
// neighbours at a time, when the first of them is needed.
type rows []atomic.Pointer[rowBlock]

const (
	rowsOfBlock = 63 // just below five of the runtime's pages, of which it allocates whole ones
	rowBytes    = 5 << 13 / rowsOfBlock
)

type rowBlock struct {
	mu sync.Mutex
	// numbers are those of the rows, + 1; 0 is a place with none.
	numbers [rowsOfBlock]uint64
	rows    [rowsOfBlock]row
}

func newRows(bytes int64) *rows {
	r := make(rows, max(1, bytes/(rowBytes*rowsOfBlock)))
	return &r
}

func (r rows) at(n uint64) *atomic.Pointer[rowBlock] { return &r[n/rowsOfBlock%uint64(len(r))] }

// get copies row n to where, and reports whether it is there.
func (r rows) get(n uint64, where *row) bool {
	b := r.at(n).Load()
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.numbers[n%rowsOfBlock] != n+1 {
		return false
	}
	*where = b.rows[n%rowsOfBlock]
	return true
}

func (r rows) put(n uint64, v *row) {
	at := r.at(n)
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(rowBlock)) // another's is as good
	}
	b := at.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.numbers[n%rowsOfBlock], b.rows[n%rowsOfBlock] = n+1, *v
}

// texts keep entries, packed, and drop the oldest when there is no room for another.
type texts [textRings]textRing

// textRings is how many locks there are.
const textRings = 16

// A textRing has its entries one after the other, as records of a number, a length and what was packed. Those from 0 to
// next are newer than those from old to end, which lie further on and make room for them.
type textRing struct {
	mu    sync.Mutex
	most  int // bytes that records may grow to
	bytes []byte
	// slots have, each for the numbers that it stands for, where the record of one begins, + 1.
	slots []uint32

	next, old, end int
}

const (
	recordHead = 8 // the number, and in the last 16 bits the length
	// A slot for each leastRecord bytes: then there are enough for a log that fits, also where names are short.
	leastRecord = 80
	// longestText is the longest entry that is kept: of this version all are.
	longestText = entry.MaxSize
)

// newTexts makes room for so many bytes, of which some are taken at once.
func newTexts(most, some int64) *texts {
	// Each record has its share of the slots, of 4 bytes.
	share := func(n int64) int { return int(min(n/textRings*leastRecord/(leastRecord+4), 1<<32-2)) }
	t := new(texts)
	for i := range t {
		r := &t[i]
		r.most, r.bytes = share(most), make([]byte, share(some))
		r.slots = make([]uint32, max(1, len(r.bytes)/leastRecord))
	}
	return t
}

// get returns entry n, or "".
func (t *texts) get(n uint64) string {
	r := &t[n%textRings]
	var packed [longestText + 1]byte
	r.mu.Lock()
	v := r.find(n)
	size := copy(packed[:], v)
	r.mu.Unlock()
	if size == 0 {
		return ""
	}
	return unpack(packed[:size])
}

// put keeps entry n, which must be the one that the log has.
func (t *texts) put(n uint64, text []byte) {
	r := &t[n%textRings]
	if len(text) > longestText || r.has(n) {
		return
	}
	packed := pack(text) // which takes long, and needs no lock
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.find(n) == nil {
		r.add(n, packed)
	}
}

func (r *textRing) has(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(n) != nil
}

func (r *textRing) slot(n uint64) *uint32 { return &r.slots[n/textRings%uint64(len(r.slots))] }

// find returns the packed entry n, or nil. It is the ring's.
func (r *textRing) find(n uint64) []byte {
	at := *r.slot(n)
	if at == 0 {
		return nil
	}
	of, v := r.record(int(at - 1))
	if of != n {
		return nil
	}
	return v
}

func (r *textRing) record(at int) (n uint64, v []byte) {
	head := binary.LittleEndian.Uint64(r.bytes[at:])
	at += recordHead
	return head >> 16, r.bytes[at : at+int(head&0xffff)]
}

func (r *textRing) add(n uint64, v []byte) {
	size := recordHead + len(v)
	if size > r.most {
		return
	}
	for {
		if r.old < r.end {
			if r.next+size <= r.old {
				break
			}
			r.drop()
		} else if r.next+size <= len(r.bytes) {
			break
		} else if len(r.bytes) < r.most {
			r.grow(size)
		} else {
			r.old, r.end, r.next = 0, r.next, 0
		}
	}
	binary.LittleEndian.PutUint64(r.bytes[r.next:], n<<16|uint64(len(v))) // an index has 36 bits
	copy(r.bytes[r.next+recordHead:], v)
	*r.slot(n) = uint32(r.next) + 1
	r.next += size
}

// drop forgets the oldest record.
func (r *textRing) drop() {
	n, v := r.record(r.old)
	if slot := r.slot(n); *slot == uint32(r.old)+1 { // and not that of a newer one
		*slot = 0
	}
	r.old += recordHead + len(v)
}

// grow doubles the ring, while all that it has are the records before next.
func (r *textRing) grow(least int) {
	bytes := make([]byte, min(r.most, max(2*len(r.bytes), len(r.bytes)+least, 4<<10)))
	copy(bytes, r.bytes[:r.next])
	r.bytes, r.slots = bytes, make([]uint32, max(1, len(bytes)/leastRecord))
	for at := 0; at < r.next; {
		n, v := r.record(at)
		*r.slot(n) = uint32(at) + 1
		at += recordHead + len(v)
	}
}
