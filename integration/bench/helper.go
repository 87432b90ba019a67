package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// helperArg as the first argument makes this program one of its own
// yardsticks, which so run in a process of their own, as coffer does.
const helperArg = "bench-helper"

// runHelper runs a yardstick until standard input ends, which it does when the
// benchmark ends, however that comes about.
func runHelper(args []string) int {
	// An interrupt at the terminal is for the benchmark, which then ends us.
	ignoreInterrupt()
	var err error
	switch {
	case len(args) == 3 && args[0] == "null":
		err = serveNull(args[1], args[2] == "direct", os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == "tls":
		err = serveEmpty(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("no such helper %q", args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench helper:", err)
		return 1
	}
	return 0
}

// process is a program that we started and have to end.
type process struct {
	cmd  *exec.Cmd
	hold io.Closer // our end of its standard input
	out  *bufio.Reader
	done chan struct{}
	err  error // valid after done
	log  *tail
}

// start starts a program in a process group of its own, so that an interrupt
// at the terminal does not reach it before we have unmounted.
func start(env []string, name string, args ...string) (*process, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{cmd: cmd, done: make(chan struct{}), log: &tail{}}
	cmd.Stderr = p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	w.Close()
	p.hold, p.out = in, bufio.NewReader(r)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// startHelper starts a yardstick and decodes what it says when it is ready.
func startHelper(ready any, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := start(nil, self, append([]string{helperArg}, args...)...)
	if err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, ready)
	}
	if err != nil {
		p.end()
		return nil, fmt.Errorf("helper %v: %w: %s", args, err, p.log)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end ends the process: by closing its input, then by asking, then by force.
func (p *process) end() error {
	p.hold.Close()
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if sig != 0 {
			p.cmd.Process.Signal(sig) // an error means that it has ended
		}
		wait := 3 * time.Second
		if sig == 0 && p.cmd.Args[min(1, len(p.cmd.Args)-1)] != helperArg {
			wait = 200 * time.Millisecond
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(wait):
		}
	}
	return fmt.Errorf("process %d (%s) does not end", p.pid(), p.cmd.Path)
}

// command runs a program to its end.
func command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it may have a daemon to end
	cmd.WaitDelay = 2 * time.Second                                          // a daemon may have kept our pipe
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

func goroot() string {
	out, err := command(context.Background(), nil, "go", "env", "GOROOT")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// tail keeps the end of what is written to it, at most maxTail bytes. It is
// written by the goroutine that copies a program's output.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > maxTail {
		t.b = append([]byte(nil), t.b[len(t.b)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
