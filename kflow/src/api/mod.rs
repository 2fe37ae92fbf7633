//! JSON of the device API (wire contract, section 7).
//!
//! Numbers that travel as text are written as text and read as either; `null` and absent optional
//! members read as their empty value; unknown members are ignored. Who reads a body bounds it.

mod device;
mod interface;
mod lenient;
mod sender;

use serde::{Deserialize, Serialize};

pub use device::{
    ColumnKind, CreateDevice, CustomColumn, Device, DeviceBody, DeviceList, NewDevice, Plan, Site,
};
pub use interface::{Address, InterfaceUpdate, StoredInterface};
pub use sender::{SenderId, SenderIdError, lookup_name, strict_name};

/// Body of every error answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Shown to the user by clients.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub error: String,
}
