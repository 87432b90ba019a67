package ring

import (
	"errors"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// UnavailableError says why a mount cannot have rings. Nothing is mounted.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string {
	return "requests cannot come through io_uring: " + e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Connect has a file system mounted by mount, which must use c.FS and c.Options, and
// makes its rings. The caller serves the connection (fuse.Server.Serve); c.FS.OnUnmount
// may be called before the last request of the rings was answered, which Server.Wait
// tells. No other mount may be made in this process meanwhile. If the error is an
// UnavailableError, a mount without rings may be possible.
func Connect(c Config, mount func() (*fuse.Server, error)) (*fuse.Server, *Server, error) {
	if err := usable(); err != nil {
		return nil, nil, &UnavailableError{err}
	}
	done, err := offer()
	if err != nil {
		return nil, nil, &UnavailableError{err}
	}
	c.Options.ExtraCapabilities |= fuse.CAP_OVER_IO_URING
	connection, dev, err := newDevice(mount)
	done()
	c.Options.ExtraCapabilities &^= fuse.CAP_OVER_IO_URING // a mount without rings can use them
	if connection == nil {
		return nil, nil, err
	}
	if err == nil && connection.KernelSettings().Flags64()&fuse.CAP_OVER_IO_URING == 0 {
		err = errors.New("the kernel did not offer it")
	}
	var s *Server
	if err == nil {
		s, err = serve(c, connection.KernelSettings(), dev)
	}
	if err == nil {
		return connection, s, nil
	}
	// If it agreed to rings, the kernel sends nothing before it has them.
	served := make(chan struct{})
	go func() {
		defer close(served)
		connection.Serve()
	}()
	if uerr := connection.Unmount(); uerr != nil {
		return nil, nil, errors.Join(fmt.Errorf("io_uring: %w", err), uerr)
	}
	<-served
	if s != nil {
		s.Wait()
	}
	return nil, nil, &UnavailableError{err}
}
