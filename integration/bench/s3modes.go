package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Rows of the S3 door alone: listings of a large bucket, copies, and other S3 servers.

// smallBothWays puts 4 KiB objects from eight clients for a while, and gets them.
func (s *stage) smallBothWays(ctx context.Context, e *endpoint, m *meter, put, get row, prefix string, headers []string) error {
	there := 0
	for _, r := range []row{put, get} {
		batch, err := s.sign(ctx, e, prefix, there, headers)
		if err != nil {
			return err
		}
		if err := m.count(r, func() (int, error) { return batch.send(s.c.duration) }); err != nil {
			return err
		}
		there = max(batch.sent(), 1)
	}
	return nil
}

func (s *stage) listGroup() group {
	return group{
		name: "listings", rows: []row{rowList},
		contestants: []contestant{
			{nameCoffer, func(ctx context.Context, m *meter) error {
				return s.list(ctx, m, s.listKey(max(s.c.keys-pageKeys-1, 0)))
			}},
			{nameListStart, func(ctx context.Context, m *meter) error { return s.list(ctx, m, "list/") }},
		},
	}
}

// pageKeys is what S3 lists in one page.
const pageKeys = 1000

// listKey is a key of the large bucket. All stand in one directory.
func (s *stage) listKey(i int) string { return fmt.Sprintf("list/%09d", i) }

// list lists the page behind a key again and again.
func (s *stage) list(ctx context.Context, m *meter, after string) error {
	e := s.coffer.s3
	defer e.http.CloseIdleConnections()
	m.step = rowList.name
	if err := s.fill(); err != nil {
		return err
	}
	query := "?list-type=2&prefix=list%2F&start-after=" + url.QueryEscape(after)
	return m.count(rowList, func() (int, error) {
		n := 0
		for end := time.Now().Add(s.c.duration); time.Now().Before(end) || n == 0; n++ {
			if _, err := e.do(ctx, http.MethodGet, bucket, query, nil); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

// fill makes the keys to be listed, once: as files, which takes a tenth of the time of
// as many durable PUTs.
func (s *stage) fill() error {
	if s.filled {
		return nil
	}
	s.log("making %d keys to list", s.c.keys)
	root := filepath.Join(s.coffer.mountpoint, bucket)
	if err := os.MkdirAll(filepath.Join(root, "list"), 0o755); err != nil {
		return err
	}
	var next atomic.Int64
	err := parallel(smallClients, func(int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= s.c.keys {
				return nil
			}
			f, err := os.Create(filepath.Join(root, s.listKey(i)))
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
	})
	s.filled = err == nil
	return err
}

func (s *stage) copyGroup() group {
	return group{
		name: "copies", rows: []row{rowCopyObject},
		contestants: []contestant{
			{nameCoffer, func(ctx context.Context, m *meter) error { return s.copies(ctx, m, "copy/large", s.c.copySize) }},
			{nameCopySmall, func(ctx context.Context, m *meter) error { return s.copies(ctx, m, "copy/small", page) }},
		},
	}
}

// copies copies an object from SSE-S3 to a customer's key, to another one, and
// back, again and again.
func (s *stage) copies(ctx context.Context, m *meter, name string, size int64) (err error) {
	e := s.coffer.s3
	defer e.http.CloseIdleConnections()
	m.step = rowCopyObject.name
	dir := filepath.Join(s.coffer.mountpoint, bucket, "copy")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeNoise(filepath.Join(s.coffer.mountpoint, bucket, name), size); err != nil {
		return err
	}
	one, two := newCustomerKey(), newCustomerKey()
	return m.count(rowCopyObject, func() (int, error) {
		n := 0
		for end := time.Now().Add(s.c.duration); time.Now().Before(end) || n == 0; {
			for i, headers := range [][]string{one.headers, append(append([]string{}, one.source...), two.headers...), two.source} {
				from := fmt.Sprintf("%s/%s-%d", bucket, name, i)
				if i == 0 {
					from = bucket + "/" + name
				}
				if _, err := e.do(ctx, http.MethodPut, bucket, fmt.Sprintf("%s-%d", name, i+1), []byte{}, append(headers, "X-Amz-Copy-Source", from)...); err != nil {
					return n, err
				}
				n++
			}
		}
		return n, nil
	})
}

// writeNoise makes a file without holes and makes it durable.
func writeNoise(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for left := size; left > 0 && err == nil; {
		n := min(left, int64(len(noise)))
		_, err = f.Write(noise[:n])
		left -= n
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *stage) serverGroup() group {
	g := group{
		name: "S3 servers", rows: []row{rowServerPut, rowServerGet},
		contestants: []contestant{
			{nameCoffer, func(ctx context.Context, m *meter) error {
				defer s.coffer.s3.http.CloseIdleConnections()
				err := s.smallBothWays(ctx, s.coffer.s3, m, rowServerPut, rowServerGet, "servers/", nil)
				return errors.Join(err, os.RemoveAll(filepath.Join(s.coffer.mountpoint, bucket, "servers")))
			}},
		},
	}
	for _, name := range []string{nameVersity, nameMinIO} {
		e := s.servers[name]
		if e == nil {
			continue
		}
		g.contestants = append(g.contestants, contestant{name, func(ctx context.Context, m *meter) error {
			defer e.http.CloseIdleConnections()
			return s.smallBothWays(ctx, e, m, rowServerPut, rowServerGet, fmt.Sprintf("servers-%d/", time.Now().UnixNano()), nil)
		}})
	}
	return g
}

// startServers starts the other S3 servers that are on the path, each over TLS in
// a directory beside the store. As they come: versitygw syncs nothing before it
// answers, coffer and MinIO do.
func (s *stage) startServers(ctx context.Context) {
	s.servers = map[string]*endpoint{}
	for name, args := range map[string]func(addr, certs, dir string) []string{
		nameVersity: func(addr, certs, dir string) []string {
			return []string{"--port", addr, "--access", serverKey, "--secret", serverSecret, "--region", "us-east-1",
				"--cert", filepath.Join(certs, "public.crt"), "--key", filepath.Join(certs, "private.key"), "posix", dir}
		},
		nameMinIO: func(addr, certs, dir string) []string {
			return []string{"server", "--quiet", "--address", addr, "--certs-dir", certs, dir}
		},
	} {
		e, err := s.startServer(ctx, name, args)
		if err != nil {
			s.log("%s is left out: %v", name, err)
			continue
		}
		s.servers[name] = e
	}
}

const serverKey, serverSecret = "benchbench", "bench-secret-of-nobody"

func (s *stage) startServer(ctx context.Context, name string, args func(addr, certs, dir string) []string) (*endpoint, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	dir, err := s.mkdir(name)
	if err != nil {
		return nil, err
	}
	certs, err := s.mkdir(name + "-certs")
	if err != nil {
		return nil, err
	}
	der, key, err := selfSigned()
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(
		os.WriteFile(filepath.Join(certs, "public.crt"), ca, 0o600),
		os.WriteFile(filepath.Join(certs, "private.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600),
	); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	p, err := start([]string{"MINIO_ROOT_USER=" + serverKey, "MINIO_ROOT_PASSWORD=" + serverSecret}, program, args(addr, certs, dir)...)
	if err != nil {
		return nil, err
	}
	s.atEnd("end "+name, p.end)
	s.pids[name] = p.pid
	go io.Copy(io.Discard, p.out)
	e := &endpoint{url: "https://" + addr, region: "us-east-1", accessKey: serverKey, secretKey: serverSecret}
	if err := e.connect(ca); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTime); ; {
		if _, err = e.do(ctx, http.MethodPut, bucket, "", []byte{}); err == nil {
			return e, nil
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("it ended: %w: %s", p.err, p.log)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("it is not ready in %v: %w", startTime, err)
		}
	}
}
