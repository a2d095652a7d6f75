//! `events!`: a function for each event, and the table of all of them.

/// `GROUP NAME[CALLER](FIELD: TYPE, ..) "FORMAT" => VALUE, ..;`: the event's function has the fields as parameters; its
/// frame is the format string with the values, which are made of the fields, and of the address of the caller if it
/// is named. `defmt` wants string literals.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $group:ident $name:ident $([$site:ident])? ($($field:ident : $type:ty),*)
        $format:literal => $($value:expr),*;
    )*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::extra_unused_lifetimes)]
            pub fn $name<'a>($($field: $type),*) {
                if is_on!($name) {
                    core::hint::cold_path();
                    emit::$name($($field),*);
                }
            }
        )*

        /// The same for fields that cost something to find out: `f` gives them, and is called only when the event is on.
        pub mod lazy {
            $(
                $(#[$doc])*
                #[inline(always)]
                #[allow(clippy::extra_unused_lifetimes)]
                pub fn $name<'a>(f: impl FnOnce() -> ($($type,)*)) {
                    if is_on!($name) {
                        core::hint::cold_path();
                        let ($($field,)*) = f();
                        super::emit::$name($($field),*);
                    }
                }
            )*
        }

        table! { $($group $name)* }

        /// What an event that is on does.
        mod emit {
            $(
                #[inline(never)]
                #[allow(clippy::too_many_arguments, clippy::extra_unused_lifetimes)]
                pub(super) fn $name<'a>($($field: $type),*) {
                    frame!($group $name $([$site])? ($($field),*) $format => $($value),*);
                }
            )*
        }
    };
}

#[cfg(not(all(target_arch = "arm", target_os = "none")))]
macro_rules! is_on {
    ($name:ident) => {
        crate::host::is_on()
    };
}

#[cfg(not(all(target_arch = "arm", target_os = "none")))]
macro_rules! table {
    ($($group:ident $name:ident)*) => {};
}

#[cfg(not(all(target_arch = "arm", target_os = "none")))]
macro_rules! frame {
    ($group:ident $name:ident $([$site:ident])? ($($field:ident),*) $format:literal => $($value:expr),*) => {{
        let mut text = std::string::String::from(concat!(stringify!($group), ":", stringify!($name)));
        $( text += &std::format!(concat!(" ", stringify!($field), "={:?}"), $field); )*
        $( let $site = 0u32; )?
        let values = std::vec![$( crate::host::shape_of(&$value) ),*];
        crate::host::push(crate::host::Event { text, format: $format, values });
    }};
}

#[cfg(all(target_arch = "arm", target_os = "none"))]
macro_rules! is_on {
    ($name:ident) => {
        arch_armv7::static_branch_unlikely!(crate::events::keys::$name)
    };
}

#[cfg(all(target_arch = "arm", target_os = "none"))]
macro_rules! table {
    ($($group:ident $name:ident)*) => {
        /// The place of each event in [`EVENTS`].
        #[allow(non_camel_case_types)]
        #[repr(u8)]
        pub(crate) enum Number { $($name),* }

        /// The switch of each event.
        #[allow(non_upper_case_globals)]
        pub(crate) mod keys {
            use arch_armv7::jump_label::StaticKey;
            $( pub(crate) static $name: StaticKey = StaticKey::new(); )*
        }

        /// All events.
        pub static EVENTS: [crate::Event; [$(Number::$name as u8),*].len()] = [
            $( crate::Event::new(stringify!($group), stringify!($name), &keys::$name) ),*
        ];
    };
}

/// The number of an interned string: the address of a byte in a section that stays on the host, whose symbol says what
/// the string is.
#[cfg(all(target_arch = "arm", target_os = "none"))]
#[rustfmt::skip]
macro_rules! string {
    ($format:literal) => {{
        #[allow(unsafe_code)]
        #[unsafe(link_section = concat!(".defmt.println.", $format))]
        #[unsafe(export_name = concat!(
            r#"{"package":"trace","tag":"defmt_println","data":""#, $format,
            r#"","disambiguator":"0","crate_name":"trace"}"#
        ))]
        static STRING: u8 = 0;
        (&raw const STRING).addr() as u16
    }};
}

#[cfg(all(target_arch = "arm", target_os = "none"))]
macro_rules! frame {
    ($group:ident $name:ident $([$site:ident])? ($($field:ident),*) $format:literal => $($value:expr),*) => {{
        $( let $site = crate::target::caller(); )?
        if let Some(mut frame) = crate::target::Frame::begin(string!($format)) {
            $( frame.put($value); )*
            frame.commit();
            crate::target::after(crate::events::Number::$name as u32);
        }
    }};
}
