package ring

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newDevice finds the descriptor of the connection that mount makes, which go-fuse keeps
// to itself. There is a connection if it is not nil, with an error, too.
func newDevice(mount func() (*fuse.Server, error)) (*fuse.Server, int, error) {
	before, err := devices()
	if err != nil {
		return nil, -1, err
	}
	server, err := mount()
	if err != nil {
		return nil, -1, err
	}
	after, err := devices()
	if err != nil {
		return server, -1, err
	}
	for fd := range after {
		if !before[fd] {
			return server, fd, nil
		}
	}
	return server, -1, errors.New("the connection's descriptor was not found")
}

// devices are the descriptors of FUSE connections that this process has.
func devices() (map[int]bool, error) {
	const dir = "/proc/self/fd/"
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	fds := map[int]bool{}
	for _, l := range list {
		target, err := os.Readlink(dir + l.Name())
		fd, nerr := strconv.Atoi(l.Name())
		if err == nil && nerr == nil && strings.HasPrefix(target, "/dev/fuse") {
			fds[fd] = true
		}
	}
	return fds, nil
}
