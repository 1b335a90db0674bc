//! Reading, reducing, reporting and writing.
