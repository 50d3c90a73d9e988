package frontend

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	type key struct{}
	for name, f := range map[string]func(t *testing.T, parent context.Context, cancel context.CancelFunc){
		"it ends in time, for whoever waits": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			d := withDeadline(parent, time.Now().Add(time.Minute))
			defer d.end()
			if err := d.Err(); err != nil {
				t.Errorf("at once: %v", err)
			}
			began := time.Now()
			<-d.Done()
			if took := time.Since(began); took != time.Minute || !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Errorf("after %v: %v", took, d.Err())
			}
		},
		"it has ended for whoever asks later": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			d := withDeadline(parent, time.Now().Add(time.Minute))
			defer d.end()
			time.Sleep(time.Hour)
			if err := d.Err(); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			<-d.Done()
		},
		"the parent ends it": func(t *testing.T, parent context.Context, cancel context.CancelFunc) {
			d := withDeadline(parent, time.Now().Add(time.Minute))
			defer d.end()
			done := d.Done()
			cancel()
			<-done
			if !errors.Is(d.Err(), context.Canceled) {
				t.Error(d.Err())
			}
		},
		"the parent's deadline is earlier": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			parent, cancel := context.WithTimeout(parent, time.Second)
			defer cancel()
			d := withDeadline(parent, time.Now().Add(time.Minute))
			defer d.end()
			if at, ok := d.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("%v, %v", at, ok)
			}
		},
		"its children end with it": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			d := withDeadline(parent, time.Now().Add(time.Minute))
			defer d.end()
			child, cancel := context.WithTimeout(d, time.Hour)
			defer cancel()
			<-child.Done()
			if !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Error(child.Err())
			}
		},
		"the end of the call ends it": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			d, unused := withDeadline(parent, time.Now().Add(time.Minute)), withDeadline(parent, time.Now().Add(time.Minute))
			done := d.Done()
			d.end()
			unused.end()
			<-done
			<-unused.Done()
			if !errors.Is(d.Err(), context.Canceled) || !errors.Is(unused.Err(), context.Canceled) {
				t.Error(d.Err(), unused.Err())
			}
		},
		"it has the parent's values": func(t *testing.T, parent context.Context, _ context.CancelFunc) {
			d := withDeadline(context.WithValue(parent, key{}, 7), time.Now().Add(time.Minute))
			defer d.end()
			if got := d.Value(key{}); got != 7 {
				t.Errorf("%v", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				defer cancel()
				f(t, parent, cancel)
			})
		})
	}
}
