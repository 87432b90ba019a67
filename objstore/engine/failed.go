package engine

// fail has the store take no more changes: what is below it writes none any more, in
// the segments or in the metadata. Where those alone go on that have not failed, changes
// would be made that can never be durable. Files open and take writes, as where there is
// no room: their commit fails, and whoever has them open is told.
func (s *Store) fail(err error) {
	if !s.o.ReadOnly {
		s.failed.CompareAndSwap(nil, &err)
	}
}

// Failure is why the store takes no more changes until it is opened again, or nil.
func (s *Store) Failure() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}
