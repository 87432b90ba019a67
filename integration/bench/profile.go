package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// profileRow begins a CPU profile of the daemon that is to end with the row, by
// the time that the row took in the round before. The admin socket cannot end
// one early.
func (c *cofferPeer) profileRow(r row) {
	seconds := int(c.took[r.name].Seconds() * 0.8)
	if seconds < 1 {
		return
	}
	go func() {
		if err := c.fetchProfile(r, seconds); err != nil {
			c.s.log("profile of %q: %v", r.name, err)
		}
	}()
}

// tookRow notes how long a row took.
func (c *cofferPeer) tookRow(r row, d time.Duration) {
	if c.took == nil {
		c.took = map[string]time.Duration{}
	}
	c.took[r.name] = d
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (c *cofferPeer) fetchProfile(r row, seconds int) error {
	if err := os.MkdirAll(c.s.c.profile, 0o755); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(c.store, "run", "admin.sock"))
		},
	}}
	resp, err := client.Get(fmt.Sprintf("http://coffer/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the daemon answers %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.s.c.profile, notInNames.ReplaceAllString(r.name, "-")+".pprof"), b, 0o644)
}
