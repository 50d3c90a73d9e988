package prooftree

import (
	"container/list"
	"sync"
)

// A cache keeps what was verified, up to a number of bytes, and drops first what was not used for longest.
// Whatever is in it is shared, and nobody changes it.
type cache struct {
	mu    sync.Mutex
	limit int
	size  int
	order list.List // of *cached, the last used in front
	items map[string]*list.Element
}

type cached struct {
	name  string
	value any
	size  int
}

func (c *cache) get(name string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[name]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true
}

func (c *cache) put(name string, value any, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[name]; ok || size > c.limit {
		return
	}
	if c.items == nil {
		c.items = map[string]*list.Element{}
	}
	c.items[name] = c.order.PushFront(&cached{name, value, size})
	for c.size += size; c.size > c.limit; {
		last := c.order.Remove(c.order.Back()).(*cached)
		delete(c.items, last.name)
		c.size -= last.size
	}
}
