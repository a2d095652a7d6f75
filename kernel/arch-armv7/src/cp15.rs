//! CP15 registers and operations that `aarch32-cpu` lacks, in its own terms.
//!
//! Source: ARM DDI 0406C, table B3-45 on (CP15 encodings). Writing one of these changes address translation or
//! drops cached state; each caller orders it with the barriers that the manual asks for there.

use aarch32_cpu::register::{SysReg, SysRegRead, SysRegWrite};

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $op1:literal, c $crn:literal, c $crm:literal, $op2:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl SysReg for $name {
            const CP: u32 = 15;
            const CRN: u32 = $crn;
            const OP1: u32 = $op1;
            const CRM: u32 = $crm;
            const OP2: u32 = $op2;
        }
        impl SysRegRead for $name {}
        impl SysRegWrite for $name {}
    )*};
}

registers! {
    /// Translates an address as a privileged read would; the answer is in PAR.
    Ats1Cpr = 0, c 7, c 8, 0;
    /// Translates an address as a privileged write would.
    Ats1Cpw = 0, c 7, c 8, 1;
    /// Invalidates instruction caches of all CPUs to the point of unification.
    IcIallUis = 0, c 7, c 1, 0;
    /// Invalidates branch predictors of all CPUs.
    BpIallIs = 0, c 7, c 1, 6;
    /// Cleans a data cache line to the point of unification.
    DcCmvaU = 0, c 7, c 11, 1;
    /// Drops everything from the TLBs of all CPUs.
    TlbIallIs = 0, c 8, c 3, 0;
    /// Drops a page of an address space from the TLBs of all CPUs.
    TlbImvaIs = 0, c 8, c 3, 1;
    /// Drops an address space from the TLBs of all CPUs.
    TlbIasidIs = 0, c 8, c 3, 2;
}
