package mount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/cofferfs/coffer/objstore/s3api"
)

// listen takes the addresses of the S3 door.
func (d *Daemon) listen(ctx context.Context) error {
	files, err := shareDescriptors()
	if err != nil {
		return err
	}
	connections := make(slots, files.connections)
	ln, err := listenOn(ctx, d.cfg.Listen, "--listen")
	if err != nil {
		return err
	}
	d.listener = connections.bound(ln)
	if d.cfg.HTTP == "" {
		return nil
	}
	if ln, err = listenOn(ctx, d.cfg.HTTP, "--http"); err != nil {
		return errors.Join(err, d.listener.Close())
	}
	d.plain = connections.bound(ln)
	return nil
}

func listenOn(ctx context.Context, addr, flag string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted(fmt.Errorf("listen address %s is in use by another program", addr), "choose another with "+flag+"; port 0 picks a free one")
	case errors.Is(err, syscall.EACCES):
		return nil, hinted(fmt.Errorf("may not listen on %s", addr), "ports below 1024 are root's: choose another with "+flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, hinted(fmt.Errorf("cannot listen on %s: it is no address of this machine", addr), "choose another with "+flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln.(*net.TCPListener), nil
}

// startS3 serves S3 through TLS and, where it was asked for, without.
func (d *Daemon) startS3() error {
	names := namesFor(d.cfg.listenHost())
	if d.cfg.HTTP != "" {
		names = names.with(namesFor(hostOf(d.cfg.HTTP)))
	}
	server, err := s3api.New(s3api.Options{
		Store:       d.store.engine,
		IAM:         d.store.iam,
		Credentials: d.store.creds.lookup,
		Region:      Region,
		Domains:     names.dns,
		Logger:      quiet(d.log.With("part", "s3"), d.cfg.Debug),
		Panicked:    d.panics.panicked,
	})
	if err != nil {
		return err
	}
	d.s3 = append(d.s3, server.HTTPServer())
	d.s3[0].TLSConfig = d.certs.tlsConfig()
	d.goServe("S3 door", func() error { return d.s3[0].ServeTLS(d.listener, "", "") })
	if d.plain != nil {
		plain := server.HTTPServer()
		d.s3 = append(d.s3, plain)
		d.goServe("plain S3 door", func() error { return plain.Serve(d.plain) })
	}
	return nil
}

// drainS3 ends the S3 door when the requests under way have been answered, or
// cuts them off after drainTimeout.
func (d *Daemon) drainS3(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	ended := make(chan error, len(d.s3))
	for _, s := range d.s3 {
		go func() {
			err := s.Shutdown(ctx)
			if err != nil {
				s.Close()
			}
			ended <- err
		}()
	}
	for range d.s3 {
		if err := <-ended; err != nil {
			d.log.Warn("S3 requests under way were cut off", "error", err)
		}
	}
}

// closeListeners gives up what listen took.
func (d *Daemon) closeListeners() {
	for _, s := range d.s3 {
		s.Close()
	}
	for _, ln := range []net.Listener{d.listener, d.plain} {
		if ln != nil {
			ln.Close() // a second time does no harm
		}
	}
}

// goServe runs a server until it is shut down.
func (d *Daemon) goServe(what string, serve func() error) {
	d.tasks.Add(1)
	go func() {
		defer d.tasks.Done()
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.failed <- fmt.Errorf("%s: %w", what, err)
		}
	}()
}

// Endpoint is the URL of the S3 door.
func (d *Daemon) Endpoint() string { return endpointURL("https://", d.listener, d.cfg.Listen) }

// HTTPEndpoint is that of the plain one, or "".
func (d *Daemon) HTTPEndpoint() string {
	if d.plain == nil {
		return ""
	}
	return endpointURL("http://", d.plain, d.cfg.HTTP)
}

// endpointURL is how clients reach a listener that was asked for as addr.
func endpointURL(scheme string, ln net.Listener, addr string) string {
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return ""
	}
	asked := hostOf(addr)
	ip := net.ParseIP(asked)
	switch {
	case asked == "" || ip != nil && ip.IsUnspecified():
		host = "127.0.0.1"
	case ip == nil && !strings.EqualFold(asked, "localhost"):
		// For localhost the address is better: with a name clients ask for
		// bucket.localhost, which few systems resolve.
		host = asked
	}
	return scheme + net.JoinHostPort(host, port)
}

// plainWarning says what a plain listener that others can reach means, or "".
func plainWarning(ln net.Listener) string {
	if ln == nil {
		return ""
	}
	if a, ok := ln.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return ""
	}
	return fmt.Sprintf("--http serves S3 without TLS on %s: whoever sees the network between reads all that goes over it", ln.Addr())
}

// drainTimeout bounds the wait for S3 requests when the daemon ends.
const drainTimeout = 15 * time.Second
