package watch

import (
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// A watcher is neither queued nor woken for what nobody wants, and gets all the rest.
func TestChangesThatNobodyWantsAreNotDelivered(t *testing.T) {
	h := New()
	done := make(chan struct{})
	go func() { h.Run(); close(done) }()
	var got []objstore.Change
	stop := h.Watch(func(c *objstore.Change) bool { return c.Origin != 7 }, func(c []objstore.Change) { got = append(got, c...) })

	h.Publish([]objstore.Change{{Inode: 1, Origin: 7}})
	if h.Behind() || h.seq != 0 {
		t.Error("a change that nobody wants was queued")
	}
	h.Publish([]objstore.Change{{Inode: 2, Origin: 7}, {Inode: 3, Origin: 8}})
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].Inode != 3 {
		t.Errorf("got %v", got)
	}

	all := h.Watch(nil, func([]objstore.Change) {})
	h.Publish([]objstore.Change{{Inode: 4, Origin: 7}})
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Error("a change that somebody else wants did not arrive")
	}
	all()
	stop()
	h.Publish([]objstore.Change{{Inode: 5}})
	h.Close()
	<-done
	if len(got) != 3 {
		t.Errorf("called after stop: %v", got)
	}
}
