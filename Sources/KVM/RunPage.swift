// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

/// The memory that a vCPU shares with KVM (struct kvm_run), for the life of the vCPU. Accesses to its data are
/// bounds-checked.
struct RunPage: Sendable {
  /// Host virtual address.
  private let address: UInt64
  /// Bytes (KVM_GET_VCPU_MMAP_SIZE); not less than the structure.
  private let size: UInt64

  /// - Parameter mapping: The vCPU's descriptor, mapped from its start.
  init(_ mapping: borrowing Mapping) { (address, size) = (mapping.address, mapping.size) }

  /// Describes memory of at least the structure's size.
  init(address: UInt64, size: UInt64) { (self.address, self.size) = (address, size) }

  // SAFETY, for all of these: the mapping holds the structure and outlives this value.
  private var run: UnsafeMutablePointer<kvm_run>? { unsafe UnsafeMutablePointer(bitPattern: UInt(address)) }

  /// The reason for the last return of KVM_RUN.
  var exitReason: Int32 { unsafe Int32(bitPattern: cl_run_exit_reason(run)) }

  /// True if KVM_RUN returned for an access, which it completes when it is entered again.
  var isAccess: Bool { unsafe cl_run_is_access(run) }

  /// The access to memory of KVM_EXIT_MMIO.
  var memoryAccess: cl_access { unsafe cl_run_mmio(run) }

  /// The access to ports of KVM_EXIT_IO.
  var portAccess: cl_access { unsafe cl_run_io(run) }

  /// The processor's reason of KVM_EXIT_FAIL_ENTRY.
  var hardwareReason: UInt64 { unsafe cl_run_hardware_exit(run) }

  /// The kind of a KVM_EXIT_INTERNAL_ERROR.
  var suberror: UInt32 { unsafe cl_run_suberror(run) }

  /// The data of a KVM_EXIT_INTERNAL_ERROR.
  var internalData: [UInt64] {
    unsafe (0..<cl_run_internal_count(run)).map { unsafe cl_run_internal_data(run, $0) }
  }

  /// The GPA of the access that KVM could not emulate, or UInt64.max.
  var emulationAddress: UInt64 { unsafe cl_run_emulation_address(run) }

  /// The type of a KVM_EXIT_SYSTEM_EVENT.
  var systemEvent: UInt32 { unsafe cl_run_system_event(run) }

  /// Makes KVM_RUN return at once, or not. May be called from any thread.
  func setImmediateExit(_ on: Bool) { unsafe cl_run_set_immediate_exit(run, on) }

  private func pointer(_ offset: UInt64, _ width: Int) -> UnsafeMutableRawPointer? {
    guard width >= 1, width <= 8, offset <= size, UInt64(width) <= size - offset else { return nil }
    return unsafe UnsafeMutableRawPointer(bitPattern: UInt(address + offset))
  }

  /// Loads 1 to 8 bytes; all-ones beyond the end.
  func load(_ offset: UInt64, width: Int) -> UInt64 {
    // SAFETY: the range has been checked.
    guard let pointer = unsafe pointer(offset, width) else { return .max }
    return unsafe cl_load(pointer, UInt32(width))
  }

  /// Stores 1 to 8 bytes; nothing beyond the end.
  func store(_ offset: UInt64, width: Int, _ value: UInt64) {
    // SAFETY: the range has been checked.
    guard let pointer = unsafe pointer(offset, width) else { return }
    unsafe cl_store(pointer, UInt32(width), value)
  }
}
