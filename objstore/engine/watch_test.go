package engine

import (
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// A watcher is neither queued nor woken for what nobody wants, and gets all the rest.
func TestChangesThatNobodyWantsAreNotDelivered(t *testing.T) {
	w := newWatchers()
	done := make(chan struct{})
	go func() { w.run(); close(done) }()
	s := &Store{watch: w}
	var got []objstore.Change
	stop := s.WatchFor(func(c *objstore.Change) bool { return c.Origin != 7 }, func(c []objstore.Change) { got = append(got, c...) })

	w.publish([]objstore.Change{{Inode: 1, Origin: 7}})
	if s.WatchersBehind() || w.seq != 0 {
		t.Error("a change that nobody wants was queued")
	}
	w.publish([]objstore.Change{{Inode: 2, Origin: 7}, {Inode: 3, Origin: 8}})
	if err := s.WaitWatchers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].Inode != 3 {
		t.Errorf("got %v", got)
	}

	all := s.Watch(func([]objstore.Change) {})
	w.publish([]objstore.Change{{Inode: 4, Origin: 7}})
	if err := s.WaitWatchers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Error("a change that somebody else wants did not arrive")
	}
	all()
	stop()
	w.publish([]objstore.Change{{Inode: 5}})
	w.close()
	<-done
	if len(got) != 3 {
		t.Errorf("called after stop: %v", got)
	}
}
