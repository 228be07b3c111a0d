//! otop
