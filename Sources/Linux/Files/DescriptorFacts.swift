// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A descriptor that another process has opened, as the kernel describes it.
public struct DescriptorFacts: Sendable {
  /// The kind of a file.
  public enum Kind: Sendable {
    /// A regular file, or memory with a file's name (memfd).
    case regular
    /// A character device.
    case character
    /// A socket.
    case socket
    /// Another kind.
    case other
  }

  /// The descriptor's number.
  public let number: Int32
  /// The kind of the file (fstat).
  public let kind: Kind
  /// True if the descriptor can be read.
  public let isReadable: Bool
  /// True if the descriptor can be written.
  public let isWritable: Bool

  /// Reads the facts and closes the descriptor at an exec (FD_CLOEXEC). Returns nil if the number is not open.
  public init?(_ number: Int32) {
    let mode = cl_access_mode(number)
    guard mode >= 0, cl_close_on_exec(number, true) == 0 else { return nil }
    self.number = number
    kind =
      switch UInt32(bitPattern: cl_file_type(number)) {
      case UInt32(S_IFREG): .regular
      case UInt32(S_IFCHR): .character
      case UInt32(S_IFSOCK): .socket
      default: .other
      }
    isReadable = mode == O_RDONLY || mode == O_RDWR
    isWritable = mode == O_WRONLY || mode == O_RDWR
  }

  /// True if the file is memory that is constant (fcntl, F_GET_SEALS).
  public var isSealed: Bool { cl_is_sealed(number) }

  /// True if this is an open /dev/kvm (KVM_GET_API_VERSION).
  public var isKVM: Bool { cl_is_kvm(number) }
  /// True if this is an open /dev/vfio/vfio (VFIO_GET_API_VERSION).
  public var isContainer: Bool { cl_is_container(number) }
  /// True if this is an open /dev/iommu (IOMMU_OPTION).
  public var isIOMMUFD: Bool { cl_is_iommufd(number) }
  /// True if this is a VFIO group (VFIO_GROUP_GET_STATUS).
  public var isGroup: Bool { cl_is_vfio_group(number) }
  /// True if this is a listening Unix stream socket whose file only root and the owner may use. The owner is root or this
  /// process's user.
  public var isPrivateListener: Bool {
    cl_is_unix_listener(number) && cl_is_private_socket(number, cl_user_id())
  }
  /// True if this is a connected Unix stream socket.
  public var isConnectedStream: Bool { cl_is_connected_stream(number) }
  /// True if this is the cdev of a device that is not bound to an iommufd. The kernel refuses each request with EINVAL
  /// (Linux drivers/vfio/vfio_main.c, vfio_device_fops_unl_ioctl).
  public var isUnboundDevice: Bool { cl_is_unbound_device(number) }
}

/// Memory with a file's descriptor (memfd_create).
public enum SealedMemory {
  /// Creates memory that nobody can change, not even this process. The descriptor stays open at an exec.
  public static func make(_ name: String, _ bytes: [UInt8]) throws(KernelError) -> OwnedDescriptor {
    // SAFETY: the string lives for the call.
    let memory = OwnedDescriptor(
      owning: try check(unsafe cl_memfd(name, UInt32(MFD_ALLOW_SEALING)), "memfd_create"))
    try memory.write(bytes)
    try check(cl_seal(memory.number), "fcntl F_ADD_SEALS")
    return memory
  }
}
