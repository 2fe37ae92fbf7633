//! Where frames come from: rings, fanout groups, filters, capture files.
