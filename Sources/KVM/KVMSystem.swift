// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// A reason why KVM cannot be used on this host.
public enum KVMError: Error, Equatable, CustomStringConvertible {
  /// /dev/kvm could not be opened.
  case unavailable(KernelError)
  /// The kernel has another version of the KVM API.
  case version(Int32)
  /// A capability that Sluice requires is missing (KVM_CHECK_EXTENSION).
  case missing(String)

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .unavailable(let error) where error.errno == KernelError.noEntry: "\(error): KVM is not loaded"
    case .unavailable(let error) where error.isPermission: "\(error): this user may not use KVM"
    case .unavailable(let error) where error.errno == KernelError.noDevice:
      "\(error): KVM has found no VT-x or SVM"
    case .unavailable(let error): error.description
    case .version(let version):
      "KVM_GET_API_VERSION: the kernel has version \(version), Sluice needs 12"
    case .missing(let name): "KVM_CHECK_EXTENSION: this kernel's KVM lacks \(name)"
    }
  }
}

/// An open /dev/kvm. It reports KVM's capabilities and creates virtual machines.
public struct KVMSystem: ~Copyable, Sendable {
  let descriptor: OwnedDescriptor

  /// Opens KVM and checks the API version and every capability that Sluice needs.
  public init(path: String = "/dev/kvm") throws(KVMError) { try self.init(Self.open(path)) }

  /// Takes an open /dev/kvm and makes the same checks.
  public init(_ opened: consuming OwnedDescriptor) throws(KVMError) {
    let version = cl_kvm_number(opened.number, IOC_KVM_GET_API_VERSION, 0)
    guard version == KVM_API_VERSION else { throw .version(version) }
    for (capability, name) in Self.needed where Self.value(of: capability, opened.number) <= 0 {
      throw .missing(name)
    }
    descriptor = opened
  }

  /// Opens KVM without a check.
  public static func open(_ path: String = "/dev/kvm") throws(KVMError) -> OwnedDescriptor {
    do throws(KernelError) { return try OwnedDescriptor(opening: path, .readWrite) } catch {
      throw .unavailable(error)
    }
  }

  private static let needed: [(Int32, String)] = [
    (KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"),
    (KVM_CAP_PIT2, "KVM_CAP_PIT2"),
    (KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"),
    (KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS"),
    (KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"),
    (KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"),
    (KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"),
    (KVM_CAP_NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS"),
    (KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"),
    (KVM_CAP_IRQFD, "KVM_CAP_IRQFD"),
    (KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE"),
    (KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"),
  ]

  private static func value(of capability: Int32, _ number: Int32) -> Int32 {
    cl_kvm_number(number, IOC_KVM_CHECK_EXTENSION, UInt(UInt32(bitPattern: capability)))
  }

  private borrowing func value(of capability: Int32) -> Int32 {
    Self.value(of: capability, descriptor.number)
  }

  /// The number of memory slots of a virtual machine (KVM_CAP_NR_MEMSLOTS).
  public var memorySlotCount: Int { Int(value(of: KVM_CAP_NR_MEMSLOTS)) }

  /// The maximum number of routes and of GSIs of a virtual machine (KVM_CAP_IRQ_ROUTING; on x86
  /// KVM_MAX_IRQ_ROUTES, include/linux/kvm_host.h).
  public var routeCount: Int { Int(value(of: KVM_CAP_IRQ_ROUTING)) }

  /// The maximum number of vCPUs of a virtual machine (KVM_CAP_MAX_VCPUS).
  public var cpuLimit: Int { Int(max(value(of: KVM_CAP_MAX_VCPUS), value(of: KVM_CAP_NR_VCPUS))) }

  /// True if KVM emulates the LAPIC's TSC-deadline timer (KVM_CAP_TSC_DEADLINE_TIMER).
  public var hasDeadlineTimer: Bool { value(of: KVM_CAP_TSC_DEADLINE_TIMER) > 0 }

  /// True if KVM can report every instruction that it cannot emulate (KVM_CAP_EXIT_ON_EMULATION_FAILURE,
  /// Linux 5.14).
  var reportsEmulationFailures: Bool { value(of: Self.exitOnEmulationFailure) > 0 }

  /// KVM_CAP_EXIT_ON_EMULATION_FAILURE.
  static let exitOnEmulationFailure: Int32 = KVM_CAP_EXIT_ON_EMULATION_FAILURE

  /// Returns the size of a vCPU's shared run structure, in bytes.
  borrowing func runSize() throws(KernelError) -> UInt64 {
    UInt64(
      try check(
        cl_kvm_number(descriptor.number, IOC_KVM_GET_VCPU_MMAP_SIZE, 0),
        "KVM_GET_VCPU_MMAP_SIZE"))
  }
}
