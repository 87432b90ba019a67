package mount

import (
	"bufio"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Who asks a daemon that ends is told that it ends: RunMount then starts another.
func TestDaemonThatEndsBeforeItAnswersIsStopping(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"unread": func(net.Conn) {},
		"read": func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
		},
	} {
		l, err := net.Listen("unix", filepath.Join(shortDir(t), "sock"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				end(c)
				c.Close()
			}
		}()
		err = newClient(l.Addr().String()).call(t.Context(), "/v1/mount", MountRequest{}, new(MountInfo))
		if CodeOf(err) != CodeStopping {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
		<-done
	}
}

// A mount can be asked about as soon as the kernel shows it, though its daemon is only
// about to list it.
func TestDaemonIsFoundWhileItMounts(t *testing.T) {
	d, dir := mountOne(t)
	table, err := mountTable()
	if err != nil {
		t.Fatal(err)
	}
	e := findMount(table, dir)
	d.mountsMu.Lock() // so that the list from before is shown
	list := d.listed.Swap(&[]MountInfo{})
	found := make(chan error)
	go func() {
		_, _, err := findDaemon(t.Context(), e)
		found <- err
	}()
	time.Sleep(listingTime / 10)
	d.listed.Store(list)
	d.mountsMu.Unlock()
	if err := <-found; err != nil {
		t.Error(err)
	}
}
